//! Writes a payload in the other encoding of its contract: JSON by the JSON mapping, or binary
//! protobuf. What was checked before is converted; what the contract does not know is left out.

use super::{
    Contract,
    binary::decode::{Undecodable, decode},
    malformed,
    media::{self, Media},
};
use bytes::Bytes;
use contract::{Result, schema::Encoding};
use prost_reflect::{DeserializeOptions, DynamicMessage, SerializeOptions, prost::Message as _};

impl Contract {
    /// The payload in the encoding `to`. Errors: `malformed_payload`, `unsupported_media_type`.
    pub(crate) fn convert(
        &self,
        content_type: &str,
        payload: &Bytes,
        to: Encoding,
    ) -> Result<Bytes> {
        match (Media::of(content_type)?, to) {
            (Media::Json, Encoding::Json) | (Media::Protobuf, Encoding::Protobuf) => {
                Ok(payload.clone())
            }
            (Media::Form, Encoding::Json) => media::form_payload(payload).map(Bytes::from),
            (Media::Json, Encoding::Protobuf) => self.to_protobuf(payload),
            (Media::Form, Encoding::Protobuf) => self.to_protobuf(&media::form_payload(payload)?),
            (Media::Protobuf, Encoding::Json) => self.to_json(payload),
        }
    }

    fn to_protobuf(&self, json: &[u8]) -> Result<Bytes> {
        let options = DeserializeOptions::new().deny_unknown_fields(false);
        let mut json = serde_json::Deserializer::from_slice(json);
        let (message, name) = (self.message().clone(), self.message().full_name());
        let read = DynamicMessage::deserialize_with_options(message, &mut json, &options);
        let whole = read.and_then(|message| json.end().map(|()| message));
        let message = whole
            .map_err(|error| malformed(format!("the payload cannot become a `{name}`: {error}")))?;
        Ok(message.encode_to_vec().into())
    }

    fn to_json(&self, protobuf: &[u8]) -> Result<Bytes> {
        let name = self.message().full_name();
        let message = decode(self.message(), protobuf).map_err(|error| match error {
            Undecodable::TooDeep => malformed(format!("the `{name}` is nested too deeply")),
            Undecodable::Malformed(error) => {
                malformed(format!("the payload is no `{name}` in protobuf: {error}"))
            }
        })?;
        let mut json = serde_json::Serializer::new(Vec::with_capacity(protobuf.len() * 2));
        let written = message.serialize_with_options(&mut json, &SerializeOptions::new());
        written.map_err(|error| {
            malformed(format!("the `{name}` cannot be written in JSON: {error}"))
        })?;
        Ok(json.into_inner().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validate::tests::contract_of;
    use contract::{ErrorCode, schema::UnknownFields};

    const PROTO: &str = "syntax = 'proto3'; package shop.v1;
        message Paid { string order_id = 1; int64 cents = 2; repeated Line lines = 3; bytes raw = 4; }
        message Line { string name = 1; double weight = 2; }";

    #[test]
    fn what_json_says_binary_says_and_back() {
        let contract = contract_of("shop.v1.Paid", PROTO, UnknownFields::Ignore);
        let json =
            br#"{"order_id":"o-1","cents":"9007199254740993","lines":[{"name":"x","weight":0.1}],
            "raw":"AQI=","unknown":{"left":"out"}}"#;
        let json = Bytes::from_static(json);
        let binary = contract.convert("application/json", &json, Encoding::Protobuf).unwrap();
        assert_eq!(&binary[..5], b"\x0a\x03o-1");
        let back = contract.convert("application/x-protobuf", &binary, Encoding::Json).unwrap();
        assert_eq!(
            std::str::from_utf8(&back).unwrap(),
            r#"{"orderId":"o-1","cents":"9007199254740993","lines":[{"name":"x","weight":0.1}],"raw":"AQI="}"#
        );
        let again = contract.convert("application/json", &back, Encoding::Protobuf).unwrap();
        assert_eq!(again, binary);
        // As it came.
        let same = contract.convert("application/json; charset=utf-8", &json, Encoding::Json);
        assert_eq!(same.unwrap(), json);
        let form = Bytes::from_static(b"payload=%7B%22order_id%22%3A%22o-1%22%7D");
        let form = contract.convert("application/x-www-form-urlencoded", &form, Encoding::Protobuf);
        assert_eq!(&form.unwrap()[..], b"\x0a\x03o-1");
    }

    #[test]
    fn what_cannot_be_written_otherwise_is_refused() {
        let contract = contract_of("shop.v1.Paid", PROTO, UnknownFields::Ignore);
        for (content_type, payload, to, code) in [
            (
                "application/json",
                &b"{\"cents\": \"many\"}"[..],
                Encoding::Protobuf,
                ErrorCode::MalformedPayload,
            ),
            ("application/json", b"{} {}", Encoding::Protobuf, ErrorCode::MalformedPayload),
            ("application/protobuf", b"\x0a\xff", Encoding::Json, ErrorCode::MalformedPayload),
            ("text/plain", b"{}", Encoding::Json, ErrorCode::UnsupportedMediaType),
        ] {
            let payload = Bytes::copy_from_slice(payload);
            let error = contract.convert(content_type, &payload, to).unwrap_err();
            assert_eq!(error.code, code, "{error}");
        }
    }
}
