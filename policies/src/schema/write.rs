//! A shape as JSON Schema.

use serde_json::{Map, Value, json};

use super::docs::Docs;
use super::shape::{Field, Number, Object, Shape, Text};

/// Whether `null` may stand for "not there", as it may for every field that may be missing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Null {
    Allowed,
    Refused,
}

/// Writes shapes; `docs` has their descriptions.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    pub(super) kind: &'static str,
    pub(super) docs: &'a Docs,
}

impl Writer<'_> {
    /// The schema of what stands at `path`, such as `spec.http[].timeout`.
    pub(super) fn schema(&self, shape: &Shape, null: Null, path: &str) -> Map<String, Value> {
        if let Some(reason) = &shape.refused {
            return refused(reason);
        }
        let mut alternatives = self.alternatives(shape, path);
        let mut schema = match alternatives.len() {
            0 => Map::new(),
            1 => alternatives.remove(0),
            _ => any_of(alternatives.into_iter().map(Value::Object).collect()),
        };
        if null == Null::Allowed && !schema.is_empty() {
            allow_null(&mut schema);
        }
        if let Some(text) = self.description(shape, path) {
            schema.insert("description".to_owned(), text.into());
        }
        if let Some(instead) = &shape.deprecated {
            schema.insert("deprecationMessage".to_owned(), instead.clone().into());
        }
        schema
    }

    /// What may stand there, one schema for each type.
    fn alternatives(&self, shape: &Shape, path: &str) -> Vec<Map<String, Value>> {
        let mut all = Vec::new();
        all.extend(
            shape
                .object
                .as_ref()
                .map(|object| self.object(object, path)),
        );
        if let Some(list) = &shape.list {
            let mut schema = typed("array");
            let items = self.schema(&list.items, Null::Refused, &format!("{path}[]"));
            schema.insert("items".to_owned(), items.into());
            if list.not_empty {
                schema.insert("minItems".to_owned(), 1.into());
            }
            all.push(schema);
        }
        all.extend(shape.text.as_ref().map(text));
        all.extend(shape.number.as_ref().map(number));
        if shape.boolean {
            all.push(typed("boolean"));
        }
        all
    }

    fn object(&self, object: &Object, path: &str) -> Map<String, Value> {
        let mut schema = typed("object");
        let property = |(name, field): (&&'static str, &Field)| {
            let null = if field.required {
                Null::Refused
            } else {
                Null::Allowed
            };
            let path = if path.is_empty() {
                (*name).to_owned()
            } else {
                format!("{path}.{name}")
            };
            let schema = self.schema(&field.shape, null, &path);
            ((*name).to_owned(), Value::Object(schema))
        };
        let properties: Map<String, Value> = object.fields.iter().map(property).collect();
        if !properties.is_empty() {
            schema.insert("properties".to_owned(), properties.into());
        }
        let rest = match &object.rest {
            Some(rest) => self
                .schema(rest, Null::Refused, &format!("{path}.*"))
                .into(),
            None => false.into(),
        };
        schema.insert("additionalProperties".to_owned(), rest);
        let required: Vec<&str> = object
            .fields
            .iter()
            .filter(|(_, field)| field.required)
            .map(|(name, _)| *name)
            .collect();
        if !required.is_empty() {
            schema.insert("required".to_owned(), required.into());
        }
        let all_of: Vec<Value> = (object.exclusive.iter().flat_map(|names| pairs(names)))
            .map(|(one, other)| never_both(one, other))
            .chain(object.any_of.iter().map(|names| at_least_one(names)))
            .collect();
        if !all_of.is_empty() {
            schema.insert("allOf".to_owned(), all_of.into());
        }
        schema
    }

    /// From the reference, from the format and from what the decoder remarked.
    fn description(&self, shape: &Shape, path: &str) -> Option<String> {
        let format = shape.text.as_ref().and_then(|text| text.format);
        let parts = [
            self.docs.field(self.kind, path).map(str::to_owned),
            format.map(|format| format!("Expected: {}.", format.expected)),
            shape.remark.clone(),
        ];
        let text = parts.into_iter().flatten().collect::<Vec<_>>().join("\n\n");
        (!text.is_empty()).then_some(text)
    }
}

fn typed(name: &str) -> Map<String, Value> {
    Map::from_iter([("type".to_owned(), name.into())])
}

fn any_of(schemas: Vec<Value>) -> Map<String, Value> {
    Map::from_iter([("anyOf".to_owned(), schemas.into())])
}

fn refused(reason: &str) -> Map<String, Value> {
    let text = format!("Refused: {reason}.");
    // `null` is as good as not there. The last two are read by editors and ignored by validators.
    Map::from_iter([
        ("type".to_owned(), "null".into()),
        ("description".to_owned(), text.clone().into()),
        ("errorMessage".to_owned(), text.into()),
        ("doNotSuggest".to_owned(), true.into()),
    ])
}

fn allow_null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(alternatives)) = schema.get_mut("anyOf") {
        alternatives.push(json!({"type": "null"}));
        return;
    }
    if let Some(name) = schema.get("type").cloned() {
        schema.insert("type".to_owned(), json!([name, "null"]));
    }
    if let Some(Value::Array(names)) = schema.get_mut("enum") {
        names.push(Value::Null);
    }
}

fn text(text: &Text) -> Map<String, Value> {
    let mut schema = typed("string");
    if !text.names.is_empty() {
        if text.any_case {
            let cases: Vec<String> = text.names.iter().map(|name| either_case(name)).collect();
            let pattern = format!("^({})$", cases.join("|"));
            // The names come first, so that editors offer them.
            return any_of(vec![
                json!({"type": "string", "enum": text.names}),
                json!({"type": "string", "pattern": pattern}),
            ]);
        }
        schema.insert("enum".to_owned(), json!(text.names));
    } else if let Some(format) = text.format {
        if !format.pattern.is_empty() {
            schema.insert("pattern".to_owned(), format.pattern.into());
            let message = format!("expected {}", format.expected);
            schema.insert("patternErrorMessage".to_owned(), message.into());
        }
        if let Some(longest) = format.longest {
            schema.insert("maxLength".to_owned(), longest.into());
        }
    }
    schema
}

/// `HTTP` as `[Hh][Tt][Tt][Pp]`: JSON Schema knows no flags.
fn either_case(name: &str) -> String {
    let one = |c: char| {
        if c.is_ascii_alphabetic() {
            format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase())
        } else {
            c.to_string()
        }
    };
    name.chars().map(one).collect()
}

fn number(number: &Number) -> Map<String, Value> {
    let mut schema = typed(if number.whole { "integer" } else { "number" });
    if let Some((least, most)) = number.range {
        for (name, bound) in [("minimum", least), ("maximum", most)] {
            schema.insert(name.to_owned(), bound_of(bound));
        }
    }
    schema
}

/// Whole bounds without a fraction.
fn bound_of(bound: f64) -> Value {
    format!("{bound}")
        .parse::<i64>()
        .map_or_else(|_| json!(bound), Value::from)
}

fn pairs<'a>(names: &'a [&'static str]) -> impl Iterator<Item = (&'static str, &'static str)> + 'a {
    names.iter().enumerate().flat_map(|(position, one)| {
        names
            .iter()
            .skip(position + 1)
            .map(move |other| (*one, *other))
    })
}

fn never_both(one: &str, other: &str) -> Value {
    let there = json!({"not": {"type": "null"}});
    json!({
        "not": {
            "type": "object",
            "required": [one, other],
            "properties": {one: there, other: there},
        },
        "errorMessage": format!("`{one}` and `{other}` exclude each other"),
    })
}

fn at_least_one(names: &[&'static str]) -> Value {
    let required = |name: &&'static str| json!({"required": [name]});
    json!({"anyOf": names.iter().map(required).collect::<Vec<_>>()})
}
