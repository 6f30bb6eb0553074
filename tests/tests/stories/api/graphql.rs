//! What of a GraphQL schema a client may rely on, and no longer finds.

use async_graphql::{
    Name, Positioned,
    parser::{
        parse_schema,
        types::{
            BaseType, EnumValueDefinition, FieldDefinition, InputValueDefinition, Type,
            TypeDefinition, TypeKind, TypeSystemDefinition,
        },
    },
};
use std::collections::BTreeMap;

/// Every reason why a request that `released` answered could fail with `present`, or its answer be
/// another.
pub(super) fn broken(released: &str, present: &str) -> Vec<String> {
    let (released, present) = (types(released), types(present));
    let mut found = Vec::new();
    for (name, old) in &released {
        match present.get(name) {
            None => found.push(format!("{name} was removed")),
            Some(new) => kinds(name, old, new, &mut found),
        }
    }
    found
}

fn types(sdl: &str) -> BTreeMap<Name, TypeDefinition> {
    let definitions = parse_schema(sdl).unwrap().definitions.into_iter();
    let types = definitions.filter_map(|definition| match definition {
        TypeSystemDefinition::Type(found) => Some((found.node.name.node.clone(), found.node)),
        TypeSystemDefinition::Schema(_) | TypeSystemDefinition::Directive(_) => None,
    });
    types.collect()
}

fn kinds(name: &Name, old: &TypeDefinition, new: &TypeDefinition, found: &mut Vec<String>) {
    match (&old.kind, &new.kind) {
        (TypeKind::Scalar, TypeKind::Scalar) => {}
        (TypeKind::Object(old), TypeKind::Object(new)) => {
            fields(name, &old.fields, &new.fields, found);
        }
        (TypeKind::Interface(old), TypeKind::Interface(new)) => {
            fields(name, &old.fields, &new.fields, found);
        }
        (TypeKind::Union(old), TypeKind::Union(new)) => {
            let now: Vec<_> = new.members.iter().map(|member| &member.node).collect();
            let gone = old.members.iter().filter(|member| !now.contains(&&member.node));
            found.extend(gone.map(|member| format!("{name} is no longer a {}", member.node)));
        }
        (TypeKind::Enum(old), TypeKind::Enum(new)) => {
            let has = |value: &EnumValueDefinition| {
                new.values.iter().any(|known| known.node.value == value.value)
            };
            let gone = old.values.iter().filter(|value| !has(&value.node));
            found.extend(gone.map(|value| format!("{name}.{} was removed", value.node.value.node)));
        }
        (TypeKind::InputObject(old), TypeKind::InputObject(new)) => {
            let path = |field: &Name| format!("{name}.{field}");
            inputs(&path, &old.fields, &new.fields, found);
        }
        _ => found.push(format!("{name} is of another kind")),
    }
}

fn fields(
    name: &Name,
    old: &[Positioned<FieldDefinition>],
    new: &[Positioned<FieldDefinition>],
    found: &mut Vec<String>,
) {
    for field in old.iter().map(|field| &field.node) {
        let (path, is) = (format!("{name}.{}", field.name.node), &field.ty.node);
        let now = new.iter().map(|now| &now.node).find(|now| now.name.node == field.name.node);
        let Some(now) = now else {
            found.push(format!("{path} was removed"));
            continue;
        };
        if !fits(&now.ty.node, is) {
            found.push(format!("{path} is {}; it was {is}", now.ty.node));
        }
        let argument = |name: &Name| format!("{path}({name}:)");
        inputs(&argument, &field.arguments, &now.arguments, found);
    }
}

/// Arguments, or fields of an input: whoever gives what was allowed must still be allowed to.
fn inputs(
    path: &dyn Fn(&Name) -> String,
    old: &[Positioned<InputValueDefinition>],
    new: &[Positioned<InputValueDefinition>],
    found: &mut Vec<String>,
) {
    for input in old.iter().map(|input| &input.node) {
        let (path, was) = (path(&input.name.node), &input.ty.node);
        let now = new.iter().map(|now| &now.node).find(|now| now.name.node == input.name.node);
        match now {
            None => found.push(format!("{path} was removed")),
            Some(now) if !fits(was, &now.ty.node) => {
                found.push(format!("{path} takes {}; it took {was}", now.ty.node));
            }
            Some(_) => {}
        }
    }
    let known = |name: &Name| old.iter().any(|input| input.node.name.node == *name);
    let fresh = new.iter().map(|input| &input.node).filter(|input| !known(&input.name.node));
    let needed = fresh.filter(|input| !input.ty.node.nullable && input.default_value.is_none());
    found.extend(needed.map(|input| format!("{} is needed and new", path(&input.name.node))));
}

/// Is every value of `given` one of `wanted`?
fn fits(given: &Type, wanted: &Type) -> bool {
    let base = match (&given.base, &wanted.base) {
        (BaseType::Named(given), BaseType::Named(wanted)) => given == wanted,
        (BaseType::List(given), BaseType::List(wanted)) => fits(given, wanted),
        (BaseType::Named(_), BaseType::List(_)) | (BaseType::List(_), BaseType::Named(_)) => false,
    };
    base && (wanted.nullable || !given.nullable)
}
