//! What stands behind the question mark of a request.

use crate::web::{Problem, decode};

/// Names and values, decoded as forms are.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads it; only these names may stand there, each once.
    pub(super) fn read(raw: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for pair in raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let decoded = decode(name).zip(decode(value));
            let Some((name, value)) = decoded else {
                return Err(Problem::bad(format!("{pair:?} in the query cannot be decoded")));
            };
            if !known.contains(&name.as_str()) {
                let known = known.join(", ");
                return Err(Problem::bad(format!(
                    "unknown {name:?} in the query: there are {known}"
                )));
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(Problem::bad(format!("{name:?} stands twice in the query")));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The value of a name.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The same, read by `parse`; `form` says what it should look like.
    pub(super) fn parsed<T>(
        &self,
        name: &str,
        form: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let wrong = || Problem::bad(format!("{name} is {text:?}, and must be {form}"));
        parse(text).map(Some).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded() {
        let query = Query::read(
            Some("user=1700000000%3aal%C3%AD+ce&limit=5&realm"),
            &["user", "limit", "realm"],
        );
        let query = query.unwrap();
        assert_eq!(query.text("user"), Some("1700000000:al\u{ed} ce"));
        assert_eq!((query.text("realm"), query.text("after")), (Some(""), None));
        assert_eq!(query.parsed("limit", "a number", |text| text.parse().ok()), Ok(Some(5)));
        assert!(query.parsed("user", "a number", |text| text.parse::<u8>().ok()).is_err());
        assert_eq!(Query::read(None, &[]), Ok(Query(Vec::new())));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for raw in ["user=%", "user=%4", "user=%zz", "user=%ff", "usr=a", "user=a&user=b", "=a"] {
            assert!(Query::read(Some(raw), &["user"]).is_err(), "{raw}");
        }
    }
}
