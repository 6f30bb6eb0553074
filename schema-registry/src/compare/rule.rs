//! The rulebooks as one table: what each says about every kind of change.
//!
//! `certes` is strict: what a payload of the old version holds means the same in the new one, in
//! JSON (by name) and in binary (by number), and a reader of the old version meets nothing new but
//! fields. `confluent` follows the protobuf rules of Confluent's schema registry. `wire` asks only
//! whether either version can decode what the other one encoded, as protobuf.dev says under
//! "Updating a message type": names do not count, and types are compared by what they hold.

use contract::schema::{Rulebook, Verdict};

macro_rules! rules {
    ($($(#[$doc:meta])* $rule:ident $name:literal $certes:ident $confluent:ident $wire:ident;)*) => {
        /// A kind of change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Rule { $($(#[$doc])* $rule,)* }

        impl Rule {
            /// All of them, in the order of the table.
            #[cfg(test)]
            pub(crate) const ALL: &'static [Self] = &[$(Self::$rule,)*];

            /// Its name, which is stable.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$rule => $name,)* }
            }

            /// What a rulebook says about it.
            pub(crate) const fn verdict(self, rulebook: Rulebook) -> Verdict {
                let (certes, confluent, wire) = match self {
                    $(Self::$rule => (Verdict::$certes, Verdict::$confluent, Verdict::$wire),)*
                };
                match rulebook {
                    Rulebook::Certes => certes,
                    Rulebook::Confluent => confluent,
                    Rulebook::Wire => wire,
                }
            }
        }
    };
}

rules! {
    // What changed                                                      certes     confluent  wire

    /// A field that need not be given.
    FieldAdded "field_added"                                             Compatible Compatible Compatible;
    /// Payloads of the old version lack it.
    RequiredFieldAdded "required_field_added"                            Breaking   Breaking   Breaking;
    /// A field outside of any oneof is gone.
    FieldRemoved "field_removed"                                         Breaking   Compatible Compatible;
    /// Readers of the old version insist on it.
    RequiredFieldRemoved "required_field_removed"                        Breaking   Breaking   Breaking;
    /// A choice of a oneof is gone.
    OneofFieldRemoved "oneof_field_removed"                              Breaking   Breaking   Compatible;
    /// Same number, another name.
    FieldRenamed "field_renamed"                                         Breaking   Compatible Compatible;
    /// Same name, another one in JSON.
    FieldJsonNameChanged "field_json_name_changed"                       Breaking   Compatible Compatible;
    /// Same name, another number: on the wire one field is gone and another is new.
    FieldNumberChanged "field_number_changed"                            Breaking   Compatible Breaking;
    /// Another encoding on the wire.
    FieldTypeChanged "field_type_changed"                                Breaking   Breaking   Breaking;
    /// Another type, encoded in the same way: int32, uint32, int64, uint64, bool and enums; sint32
    /// and sint64; fixed32 and sfixed32; fixed64 and sfixed64; string and bytes.
    FieldTypeSameEncoding "field_type_same_encoding"                     Breaking   Compatible Compatible;
    /// `bytes` that hold an encoded message.
    FieldBytesAndMessage "field_bytes_and_message"                       Breaking   Breaking   Compatible;
    /// Another message type. Under `wire` the two are compared by what they hold.
    FieldMessageTypeChanged "field_message_type_changed"                 Breaking   Breaking   Compatible;
    /// A map, and the list of entries that it is on the wire.
    FieldMapAndEntries "field_map_and_entries"                           Breaking   Breaking   Compatible;
    /// One number became many or the other way round; many may be packed.
    FieldNumericLabelChanged "field_numeric_label_changed"               Breaking   Breaking   Breaking;
    /// One string, bytes or message became many or the other way round.
    FieldLabelChanged "field_label_changed"                              Breaking   Compatible Compatible;
    /// Payloads of the old version may lack it.
    FieldMadeRequired "field_made_required"                              Breaking   Breaking   Breaking;
    /// Readers of the old version insist on it.
    FieldMadeOptional "field_made_optional"                              Breaking   Breaking   Breaking;
    /// Whether absent differs from zero.
    FieldPresenceChanged "field_presence_changed"                        Compatible Compatible Compatible;
    /// What an absent field means.
    FieldDefaultChanged "field_default_changed"                          Breaking   Compatible Compatible;
    /// Several fields that could be set together exclude each other now.
    FieldsMovedToOneof "fields_moved_to_oneof"                           Breaking   Breaking   Breaking;
    /// A free field excludes older ones now.
    FieldMovedToExistingOneof "field_moved_to_existing_oneof"            Breaking   Breaking   Breaking;
    /// A field that was excluded by others of its oneof no longer is.
    OneofFieldFreed "oneof_field_freed"                                  Breaking   Breaking   Compatible;
    /// A oneof of new fields, or of one that was free.
    OneofAdded "oneof_added"                                             Compatible Compatible Compatible;
    /// A oneof of which at most one field is left.
    OneofRemoved "oneof_removed"                                         Compatible Compatible Compatible;
    /// A oneof is gone and its fields can be set together.
    OneofDissolved "oneof_dissolved"                                     Breaking   Compatible Compatible;
    /// A number or name may be used again.
    ReservedRemoved "reserved_removed"                                   Compatible Compatible Compatible;
    /// A new field has a number that was reserved.
    ReservedReused "reserved_reused"                                     Breaking   Compatible Breaking;
    /// A message that is new in the contract.
    MessageAdded "message_added"                                         Compatible Compatible Compatible;
    /// A message of the old contract is gone.
    MessageRemoved "message_removed"                                     Breaking   Breaking   Compatible;
    /// The contract is about a message of another name.
    ContractMessageChanged "contract_message_changed"                    Breaking   Breaking   Compatible;
    /// All types have other full names.
    PackageChanged "package_changed"                                     Breaking   Breaking   Compatible;
    /// An enum that is new in the contract.
    EnumAdded "enum_added"                                               Compatible Compatible Compatible;
    /// An enum of the old contract is gone.
    EnumRemoved "enum_removed"                                           Breaking   Compatible Compatible;
    /// A value that readers of the old version do not know.
    EnumValueAdded "enum_value_added"                                    Breaking   Compatible Compatible;
    /// A value that payloads of the old version may hold.
    EnumValueRemoved "enum_value_removed"                                Breaking   Compatible Compatible;
    /// Same number, another name.
    EnumValueRenamed "enum_value_renamed"                                Breaking   Compatible Compatible;
    /// Same name, another number: what is on the wire means something else.
    EnumValueNumberChanged "enum_value_number_changed"                   Breaking   Compatible Breaking;
    /// `buf.validate` rules refuse payloads of the old version.
    RulesTightened "rules_tightened"                                     Breaking   Compatible Compatible;
    /// `buf.validate` rules ask for less.
    RulesLoosened "rules_loosened"                                       Compatible Compatible Compatible;
    /// Other `buf.validate` rules, of which nobody can tell whether they ask for more.
    RulesChanged "rules_changed"                                         Breaking   Compatible Compatible;
    /// Payloads of the old version may hold fields that are refused now.
    UnknownFieldsRefused "unknown_fields_refused"                        Breaking   Compatible Compatible;
    /// Fields that were refused pass now.
    UnknownFieldsPass "unknown_fields_pass"                              Compatible Compatible Compatible;
    /// Settings of the schema.
    RulebookChanged "rulebook_changed"                                   Compatible Compatible Compatible;
    /// The example payload.
    ExampleChanged "example_changed"                                     Compatible Compatible Compatible;
}
