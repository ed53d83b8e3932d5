//! What can be wrong about API keys and what goes with them.

use turnwire::config::{examine, load};

use super::{TempFile, only, problems};

const FINE: &str = "secret = \"0123456789abcdef\"";

#[test]
fn a_key_that_cannot_be_is_told_by_its_name() {
    let long = "a".repeat(65);
    let cases = [
        ("a = 1", "the API key \"a\" must be a table"),
        ("a = {}", "needs either a secret or a secret_file"),
        ("a = { secret = \"0123456789abcdef\", secret_file = \"x\" }", "needs either"),
        ("a = { secret = \"SECRET\" }", "has a secret of less than 16 characters"),
        ("a = { secret = \"SECRET SECRET SECRET\" }", "without spaces"),
        (&format!("a = {{ {FINE}, max_ttl = \"30s\" }}"), "has a max_ttl that cannot be"),
        (&format!("a = {{ {FINE}, label = \"a/b\" }}"), "has a label that cannot be one"),
        (&format!("a = {{ {FINE}, label = \"{long}\" }}"), "has a label that cannot be one"),
        (
            &format!("a = {{ {FINE}, realm = \"other\" }}"),
            "for a realm \"other\", which is not there",
        ),
        (&format!("a = {{ {FINE}, ttl = 1 }}"), "has \"ttl\" in it"),
    ];
    for (text, words) in cases {
        let message = only(&format!("[web.keys]\n{text}"));
        assert!(message.starts_with("2:1: web.keys: the API key \"a\""), "{message}");
        assert!(message.contains(words) && !message.contains("SECRET"), "{message}");
    }
    let message = only(&format!("[web.keys]\n\"a b\" = {{ {FINE} }}"));
    assert!(message.contains("has a name that cannot be part of a path"), "{message}");
    let text = format!("[web.keys]\na = {{ {FINE} }}\nb = {{ {FINE} }}");
    assert!(only(&text).contains("the API key \"b\" has the secret of another"));
    let text = format!(
        "[web.keys]\na = {{ {FINE}, realm = \"r\" }}\n[[realm]]\nname = \"r\"\nusers = {{ a = \"b\" }}"
    );
    assert!(only(&text).contains("the realm \"r\" has no secrets"));
}

#[test]
fn what_nobody_would_get_to_is_told_so() {
    let key = format!("[web.keys]\na = {{ {FINE} }}");
    let cases = [
        ("[web]\nlisten = [\"127.0.0.1:8080\"]".to_owned(), "there is nothing to serve there"),
        (
            format!("[web]\nlisten = [\"127.0.0.1:3478\"]\n{key}"),
            "127.0.0.1:3478 is taken by the listener 0.0.0.0:3478",
        ),
        (
            format!("[https]\nbackend = \"127.0.0.1:8080\"\nplain_http = true\n{key}"),
            "HTTP on the listeners goes to https.backend: give it web.listen",
        ),
        (
            "[web]\npage = true\n[https]\nbackend = \"127.0.0.1:8080\"\nplain_http = true"
                .to_owned(),
            "HTTP on the listeners goes to https.backend",
        ),
        (
            format!("[auth]\nusername_anonymity = true\nusers.bob = \"x\"\n{key}"),
            "cannot be found by a hash of their names",
        ),
        (
            "[web]\nuris = [\"http://x\"]".to_owned(),
            "\"http://x\" is no address of a STUN or TURN server",
        ),
        (
            "[web]\nuris = [\"stun:x?transport=udp\"]".to_owned(),
            "is no address of a STUN or TURN server",
        ),
        ("[web]\nuris = [\"turn:a b\"]".to_owned(), "is no address of a STUN or TURN server"),
        ("[web]\norigins = [\"meet\"]".to_owned(), "\"meet\" is no origin"),
        ("[web]\nttl = \"10s\"".to_owned(), "out of range"),
    ];
    for (text, words) in cases {
        let message = only(&text);
        assert!(message.contains(words), "{text}: {message}");
    }
    let fine = format!(
        "[https]\nbackend = \"127.0.0.1:8080\"\nplain_http = true\n{key}\n[web]\nlisten = [\"127.0.0.1:81\"]"
    );
    assert!(turnwire::config::parse(&fine, "t.toml").is_ok());
}

#[test]
fn the_secret_of_a_key_may_stand_in_a_file_of_its_own() {
    let file = |text: &str| {
        let secret = TempFile::new(text);
        let name = std::path::PathBuf::from(secret.name());
        let name = name.file_name().unwrap().to_str().unwrap().to_owned();
        let config = TempFile::new(format!("[web.keys]\na = {{ secret_file = \"{name}\" }}\n"));
        (secret, config)
    };
    let (_secret, config) = file("0123456789abcdef\n\n");
    let key = load(&config.flags()).unwrap().web.keys.remove(0);
    assert_eq!(key.secret.unwrap().expose(), "0123456789abcdef");
    for (text, words) in [
        ("SECRET", "has a secret of less than 16 characters"),
        ("", "has no secret in it"),
        ("SECRETSECRETSECRET\nSECRETSECRETSECRET", "has a file with several lines in it"),
    ] {
        let (_secret, config) = file(text);
        let problems = examine(&config.flags()).config.unwrap_err().to_string();
        assert!(problems.contains(words) && !problems.contains("SECRET"), "{problems}");
    }
    let text = format!("[web.keys]\na = {{ {FINE}, label = \"a/b\" }}");
    assert!(!problems(&text).to_string().contains("0123456789abcdef"));
}
