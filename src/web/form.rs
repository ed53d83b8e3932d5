//! `name=value&name=value`, as queries and forms have it (WHATWG URL, application/x-www-form-urlencoded).

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;

use super::Problem;

/// Fields that are looked at; the rest of a longer form is not.
const FIELDS: usize = 32;

/// What was sent.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads it; `None` is an empty one.
    ///
    /// # Errors
    /// A value is no text.
    pub(super) fn read(text: Option<&str>) -> Result<Self, Problem> {
        let pairs = text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        };
        let fields = pairs.take(FIELDS).map(pair).collect::<Option<Vec<_>>>();
        fields
            .map(Self)
            .ok_or_else(|| Problem::bad("the query or form is not percent-encoded UTF-8"))
    }

    /// What stands in a query, and behind it in a form.
    ///
    /// # Errors
    /// A value is no text, or the form is too long.
    pub(super) fn of(
        query: Option<&str>,
        body: Result<Bytes, BytesRejection>,
    ) -> Result<Self, Problem> {
        let body = body.map_err(|it| Problem::new(it.status(), it.body_text()))?;
        let form = str::from_utf8(&body).map_err(|_| Problem::bad("the form is not UTF-8"))?;
        let mut all = Self::read(query)?;
        all.0.extend(Self::read(Some(form))?.0);
        Ok(all)
    }

    /// The first value of this name, unless it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(field, _)| field == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }
}

/// A name or a value as it was meant; nothing when it is no text.
pub fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        bytes.push(match first {
            b'+' => b' ',
            b'%' => {
                let (digits, behind) = rest.split_at_checked(2)?;
                rest = behind;
                let digits = str::from_utf8(digits).ok().filter(|it| !it.starts_with('+'))?;
                u8::from_str_radix(digits, 16).ok()?
            }
            byte => *byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded() {
        let form =
            Form::read(Some("service=turn&username=a%20b+c%C3%A9&key=&&x&username=2")).unwrap();
        assert_eq!(form.get("service"), Some("turn"));
        assert_eq!(form.get("username"), Some("a b c\u{e9}"));
        assert_eq!((form.get("key"), form.get("x"), form.get("y")), (None, None, None));
        assert_eq!(Form::read(None).unwrap(), Form::default());
        for broken in ["a=%", "a=%4", "a=%zz", "a=%+4", "a=%ff", "a=%\u{e9}"] {
            assert!(Form::read(Some(broken)).is_err(), "{broken}");
        }
    }
}
