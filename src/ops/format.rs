//! Fields of the running server's answers as people read them.

use serde_json::Value;

/// A number, 0 if there is none.
pub fn number(v: &Value, key: &str) -> f64 {
    v.get(key).and_then(Value::as_f64).unwrap_or(0.0)
}

/// A text, `-` if there is none.
pub fn text<'a>(v: &'a Value, key: &str) -> &'a str {
    v.get(key).and_then(Value::as_str).unwrap_or("-")
}

/// The elements of an array.
pub fn list<'a>(v: &'a Value, key: &str) -> &'a [Value] {
    v.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A size with its unit.
pub fn bytes(n: f64) -> String {
    let mut n = n;
    for unit in ["B", "kB", "MB", "GB"] {
        if n < 1000.0 {
            return if unit == "B" { format!("{n:.0} B") } else { format!("{n:.1} {unit}") };
        }
        n /= 1000.0;
    }
    format!("{n:.1} TB")
}

/// A whole number, `-` if there is none.
pub fn whole(v: &Value, key: &str) -> String {
    v.get(key).and_then(Value::as_i64).map_or_else(|| "-".to_owned(), |n| n.to_string())
}

/// Numbers by name on one line; none if there are none.
pub fn counts(name: &str, v: Option<&Value>) -> Option<String> {
    let Some(Value::Object(map)) = v else { return None };
    let parts: Vec<String> = map.iter().map(|(k, n)| format!("{k} {n}")).collect();
    (!parts.is_empty()).then(|| format!("{name}: {}", parts.join(", ")))
}
