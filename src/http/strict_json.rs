//! A strict JSON parser: objects with a repeated member are refused, at any depth.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Parses one JSON object; `None` if the bytes are anything else, or if a member is repeated at any
/// depth.
///
/// JSON does not define which of two members with the same name counts, so two readers could
/// understand such a document differently.
pub(crate) fn strict_object(bytes: &[u8]) -> Option<Map<String, Value>> {
    match serde_json::from_slice(bytes).ok()? {
        Strict(Value::Object(object)) => Some(object),
        Strict(_) => None,
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

/// The name of the only member of the object that `serde_json` passes instead of a number, if
/// another crate in the program has switched its feature `arbitrary_precision` on.
const NUMBER: &str = "$serde_json::private::Number";

/// Whether `arbitrary_precision` is on: only then does a number keep its digits as written.
fn numbers_come_as_objects() -> bool {
    serde_json::from_str::<Number>("0.10").is_ok_and(|number| number.to_string() == "0.10")
}

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated members")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(Strict(element)) = elements.next_element()? {
            array.push(element);
        }
        Ok(array.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if name == NUMBER && object.is_empty() && numbers_come_as_objects() {
                let digits: String = members.next_value()?;
                return match members.next_key::<String>()? {
                    None => digits.parse::<Number>().map(Value::Number).map_err(Error::custom),
                    Some(_) => Err(Error::custom("a number with members")),
                };
            }
            let Strict(value) = members.next_value()?;
            if object.insert(name, value).is_some() {
                return Err(Error::custom("a member is repeated"));
            }
        }
        Ok(object.into())
    }
}
