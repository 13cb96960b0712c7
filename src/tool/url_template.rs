//! The URL of an HTTP tool: placeholders are filled in so that no value leaves its place.

use std::collections::HashSet;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::Url;
use serde_json::{Map, Value};

use super::Failure;

/// Everything but the characters that RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Stands for all arguments, and begins a path into them.
const DATA: &str = "data";

/// What placeholders are filled from.
pub(super) struct Filling<'a> {
    arguments: &'a Map<String, Value>,
    /// The schema that tells which arguments there could be.
    schema: &'a Value,
    /// The arguments that a placeholder named.
    pub(super) used: HashSet<String>,
}

/// A part of a template.
enum Piece<'a> {
    Text(&'a str),
    /// The name between two braces.
    Placeholder(&'a str),
}

impl<'a> Filling<'a> {
    /// Takes arguments and their schema.
    pub(super) fn new(arguments: &'a Map<String, Value>, schema: &'a Value) -> Self {
        Self { arguments, schema, used: HashSet::new() }
    }

    /// Fills a template.
    pub(super) fn url(&mut self, template: &str) -> Result<Url, Failure> {
        let (origin, rest) = split_origin(template.trim())?;
        let unusable = || Failure::new(format!("`{origin}` of the tool's URL is no address; write `https://` and a host"));
        let base = Url::parse(origin).map_err(|_| unusable())?;
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        let path: Vec<_> = path.split('/').map(|segment| self.segment(segment)).collect::<Result<_, _>>()?;
        let mut text = format!("{origin}{}", path.join("/"));
        if let Some(query) = query {
            let pairs: Vec<_> = query.split('&').filter_map(|pair| self.pair(pair)).collect();
            text = format!("{text}?{}", pairs.join("&"));
        }
        Url::parse(&text).ok().filter(|url| url.origin() == base.origin() && url.username().is_empty()).ok_or_else(unusable)
    }

    /// Fills a part of the path. A value stays inside it: what would make it vanish or lead upwards is refused.
    fn segment(&mut self, segment: &str) -> Result<String, Failure> {
        let filled = self.fill(segment);
        let leads_away = matches!(percent_decode_str(&filled).decode_utf8_lossy().as_ref(), "" | "." | "..");
        if leads_away && !segment.is_empty() && names(segment).next().is_some() {
            return Err(Failure::new(format!("`{segment}` of the URL's path would be `{filled}`; call the tool with another value")));
        }
        Ok(filled)
    }

    /// Fills a pair of the query; nothing where it needs an argument that could be there and is not.
    fn pair(&mut self, pair: &str) -> Option<String> {
        let is_left_out = |name: &str| self.value(name).is_none() && self.schema["properties"].get(name).is_some();
        (!names(pair).any(is_left_out)).then(|| self.fill(pair))
    }

    fn fill(&mut self, template: &str) -> String {
        let mut filled = String::new();
        for piece in pieces(template) {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Placeholder(name) => match self.value(name) {
                    Some((value, argument)) => {
                        filled.extend(utf8_percent_encode(&value, RESERVED));
                        self.used.extend(argument);
                    }
                    None => filled.extend(utf8_percent_encode(&format!("{{{name}}}"), RESERVED)),
                },
            }
        }
        filled
    }

    /// Returns the value of a placeholder, and the names of the arguments that it takes.
    fn value(&self, name: &str) -> Option<(String, Vec<String>)> {
        if let Some(value) = self.arguments.get(name).filter(|value| !value.is_null()) {
            return Some((text(value), vec![name.to_owned()]));
        }
        if name == DATA {
            let all = Value::Object(self.arguments.clone());
            return Some((all.to_string(), self.arguments.keys().cloned().collect()));
        }
        let mut path = name.strip_prefix(DATA)?.strip_prefix('.')?.split('.');
        let first = path.next()?;
        let found = path.try_fold(self.arguments.get(first)?, |value, key| match value {
            Value::Array(values) => values.get(key.parse::<usize>().ok()?),
            value => value.get(key),
        })?;
        Some((text(found), vec![first.to_owned()]))
    }
}

/// Adds pairs to the query of a URL.
pub(super) fn add_query<'a>(url: &mut Url, pairs: impl Iterator<Item = (&'a String, &'a Value)>) {
    let encoded = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
    let pairs = pairs.filter(|(_, value)| !value.is_null()).map(|(name, value)| format!("{}={}", encoded(name), encoded(&text(value))));
    let query: Vec<_> = url.query().filter(|query| !query.is_empty()).map(str::to_owned).into_iter().chain(pairs).collect();
    url.set_query(Some(query.join("&")).filter(|query| !query.is_empty()).as_deref());
}

/// Splits a template behind its host. A placeholder before that could send secrets anywhere.
fn split_origin(template: &str) -> Result<(&str, &str), Failure> {
    let template = template.split('#').next().unwrap_or_default();
    let host = template.find("://").map_or(0, |position| position + 3);
    let end = template[host..].find(['/', '?', '\\']).map_or(template.len(), |position| host + position);
    let (origin, rest) = template.split_at(end);
    if names(origin).next().is_some() {
        return Err(Failure::new(format!("`{origin}` of the tool's URL has a placeholder; write the host out, and a tool for each host")));
    }
    Ok((origin, rest))
}

/// Writes a value as it stands in a URL, before it is percent-encoded.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn names(template: &str) -> impl Iterator<Item = &str> {
    pieces(template).into_iter().filter_map(|piece| match piece {
        Piece::Text(_) => None,
        Piece::Placeholder(name) => Some(name),
    })
}

/// Takes a template apart. Braces that enclose no name are text.
fn pieces(template: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let inside = &rest[open + 1..];
        match inside.find(['{', '}']) {
            Some(close) if close > 0 && inside[close..].starts_with('}') => {
                pieces.extend([Piece::Text(&rest[..open]), Piece::Placeholder(&inside[..close])]);
                rest = &inside[close + 1..];
            }
            _ => {
                pieces.push(Piece::Text(&rest[..=open]));
                rest = inside;
            }
        }
    }
    pieces.push(Piece::Text(rest));
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn fill(template: &str, arguments: &Value) -> Result<String, String> {
        let schema = json!({"properties": {"day": {}, "harbour": {}}});
        let filled = Filling::new(arguments.as_object().unwrap(), &schema).url(template);
        filled.map(String::from).map_err(|Failure(detail)| detail)
    }

    #[test]
    fn placeholders_are_encoded_for_their_place() {
        let arguments = json!({"harbour": "Sankt Peter/Ording?#&%", "n": 5, "list": [1, {"a": "b c"}], "deep": {"a": {"b": "ä"}}});
        for (template, url) in [
            ("https://h/{harbour}/x", "https://h/Sankt%20Peter%2FOrding%3F%23%26%25/x"),
            ("https://h?q={harbour}&n={n}", "https://h/?q=Sankt%20Peter%2FOrding%3F%23%26%25&n=5"),
            ("https://h/{data.deep.a.b}/{data.list.1.a}", "https://h/%C3%A4/b%20c"),
            ("https://h/?l={list}", "https://h/?l=%5B1%2C%7B%22a%22%3A%22b%20c%22%7D%5D"),
            ("https://h/{unknown}/{data.deep.x}?u={unknown}", "https://h/%7Bunknown%7D/%7Bdata.deep.x%7D?u=%7Bunknown%7D"),
            ("https://h/v1?a=1&day={day}&b=2#{harbour}", "https://h/v1?a=1&b=2"),
            ("https://h/a{}b", "https://h/a%7B%7Db"),
            ("https://h:8443/{n}.json", "https://h:8443/5.json"),
        ] {
            assert_eq!(fill(template, &arguments).as_deref(), Ok(url), "{template}");
        }
        assert_eq!(fill("http://h/?d={data}", &json!({"a": 1})).as_deref(), Ok("http://h/?d=%7B%22a%22%3A1%7D"));
    }

    #[test]
    fn a_value_that_leads_out_of_its_segment_is_refused() {
        for (template, value) in [("https://h/a/{v}", ".."), ("https://h/a/{v}/", "."), ("https://h/{v}", ""), ("https://h/.{v}/x", ".")] {
            assert!(fill(template, &json!({"v": value})).unwrap_err().contains("call the tool with another value"), "{template} {value}");
        }
        assert_eq!(fill("https://h/a/{v}", &json!({"v": "../b"})).as_deref(), Ok("https://h/a/..%2Fb"));
        assert_eq!(fill("https://h/a/{v}", &json!({"v": "%2e%2e"})).as_deref(), Ok("https://h/a/%252e%252e"));
    }

    #[test]
    fn no_placeholder_chooses_the_host() {
        for template in ["https://{v}/", "https://{v}.example/", "{v}://h/", "{v}", "https://h{v}", "https://u:{v}@h/", "https://h:{v}/"] {
            let refused = fill(template, &json!({"v": "x"})).unwrap_err();
            assert!(refused.contains("has a placeholder"), "{template}: {refused}");
        }
        assert!(fill("/relative/{v}", &json!({"v": "x"})).unwrap_err().contains("is no address"));
    }

    proptest! {
        #[test]
        fn any_value_stays_in_its_place(value in ".{1,20}") {
            let filled = fill("https://h.example/a/{v}/b?x={v}&y=1", &json!({"v": value}));
            if let Ok(filled) = filled {
                let url = Url::parse(&filled).unwrap();
                prop_assert_eq!(url.host_str(), Some("h.example"));
                let segments: Vec<_> = url.path_segments().unwrap().collect();
                prop_assert_eq!((segments.len(), segments[0], segments[2]), (3, "a", "b"));
                let decoded = percent_decode_str(segments[1]).decode_utf8().unwrap().into_owned();
                prop_assert_eq!(&decoded, &value);
                let pairs: Vec<_> = url.query_pairs().collect();
                prop_assert_eq!((pairs.len(), pairs[0].1.as_ref()), (2, value.as_str()));
            } else {
                prop_assert!(matches!(value.as_str(), "." | ".."));
            }
        }
    }
}
