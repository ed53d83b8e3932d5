//! A password or a secret is never shown, and may come from a file of its own.

use turnwire::auth::Secret;
use turnwire::config::{Flags, load, parse};

use super::{TempFile, flag_problem, problems};

#[test]
fn no_secret_is_shown() {
    let texts = [
        "[auth]\nsecret = \"hunter2\"",
        "[auth]\nsecrets = \"hunter2\"",
        "[auth]\nsecrets = [\n  \"hunter2\", 5,\n]",
        "[auth]\nsecrets = [hunter2]",
        "[auth]\nsecrets = [\"hunter2\" \"x\"]",
        "[auth]\nsecrets = [\n  hunter2=\n]",
        "[auth]\nrealm = 5, secrets = [\"hunter2\"]",
        "auth = { realm = 5, secrets = [\"hunter2\"] }",
        "auth = { realm = 5 secrets = [\"hunter2\"] }",
        "auth = [\"hunter2\"]",
        "[auth.users]\nalice = hunter2",
        "[auth.users]\n\"\\u0007\" = \"hunter2\"",
        "[auth.users]\nalice = { password = \"hunter2\" }",
        "[auth.users]\nalice = [\"hunter2\"]",
        "[auth]\nusers = [\"alice:hunter2\"]",
        "[auth]\nuser.alice = \"hunter2\"",
        "[auth]\nusername_anonymity = true # for\nsecrets = [\"hunter2\"]",
        "[user]\nalice = \"hunter2\"",
        "[auth.tokens.keys]\nk = { key = \"hunter2\" }",
        "[auth.tokens.keys]\nk = \"hunter2\"",
        "[redirect]\ncredentials = \"hunter2\"",
        "[redirect]\ncredentials = [\"check:hunter2\"]",
        "[auth.tokens.keys]\nk = { key = hunter2 }",
        "[auth.tokens]\nkeys = [\"hunter2\"]",
        "[log]\nlevel = \"x\"\nalice = \"hunter2\"",
        "[log]\nlevel = \"info\" alice = \"hunter2\"\nauth.secrets = [\"x\"",
        "users.alice = \"hunter2\"\nusers.alice = \"hunter2\"",
        "alice = hunter2",
        "[auth]\nsha256 = 1 # hunter2",
        "[auth]\nseparator = \"\"\"\nusers.alice = \"hunter2\"\n\"\"\"",
        "[auth]\nseparator = \"\"\":\"; secrets = [\"hunter2\"]\n\"\"\"",
    ];
    for text in texts {
        let problems = problems(text);
        let (shown, debug) = (problems.to_string(), format!("{problems:?}"));
        assert!(!shown.contains("hunter2"), "{text}\n{shown}");
        assert!(!debug.contains("hunter2"), "{text}\n{debug}");
    }
    let config = parse("[auth]\nsecrets = [\"hunter2\"]\nusers.alice = \"hunter2\"", "").unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    let flags = Flags { user: vec![Secret::new("hunter2")], ..Flags::default() };
    assert!(!format!("{flags:?}{}", flag_problem(&flags)).contains("hunter2"));
}

#[test]
fn secrets_come_from_a_file_as_well() {
    let secrets = TempFile::new("first\r\n\n second \n");
    // Relative to the configuration file.
    let name = secrets.0.file_name().unwrap().to_str().unwrap();
    let file = TempFile::new(format!("[auth]\nsecrets = [\"zeroth\"]\nsecrets_file = {name:?}"));
    let config = load(&file.flags()).unwrap();
    assert_eq!(config.auth.secrets, ["zeroth", "first", "second"].map(Secret::new));

    let empty = TempFile::new("\n");
    let file = TempFile::new(format!("[auth]\nsecrets_file = {:?}", empty.name()));
    let message = load(&file.flags()).unwrap_err().to_string();
    assert!(message.contains(":2:16: auth.secrets_file: "), "{message}");
    assert!(message.contains("has no secret in it: write one on each line"), "{message}");

    let file = TempFile::new("[auth]\nsecrets_file = \"does-not-exist\"");
    let message = load(&file.flags()).unwrap_err().to_string();
    assert!(message.contains("does-not-exist cannot be read: "), "{message}");
    // The text alone is enough where no file may be touched.
    parse("[auth]\nsecrets_file = \"does-not-exist\"", "t.toml").unwrap();
}

/// For systemd's LoadCredential: none of them need stand where everybody reads.
#[test]
fn a_webhook_and_stores_have_their_secrets_in_files_too() {
    let named = |file: &TempFile| file.0.file_name().unwrap().to_str().unwrap().to_owned();
    let secret = TempFile::new("hunter2-of-the-webhook\n");
    let url = TempFile::new("https://app.example/turn?key=hunter2\n");
    let token = TempFile::new(" hunter2-token\nanother line\n");
    let text = format!(
        "[events.webhook]\nurl = \"https://a.example/\"\nsecret_file = {:?}\n[stores.ask]\n\
         app = {{ kind = \"http\", url_file = {:?}, token_file = {:?}, signature_secret_file = {:?} }}",
        named(&secret),
        named(&url),
        named(&token),
        named(&token),
    );
    let file = TempFile::new(&text);
    let config = load(&file.flags()).unwrap();
    assert_eq!(config.events.webhook.secret, Some(Secret::new("hunter2-of-the-webhook")));
    let app = &config.stores[0];
    assert_eq!(app.url, Some(Secret::new("https://app.example/turn?key=hunter2")));
    assert_eq!(app.token, Some(Secret::new("hunter2-token")));
    assert_eq!(app.signature_secret, Some(Secret::new("hunter2-token")));
    // A sandbox lets a reload read them again.
    let reach = config.reach();
    assert!(reach.read.contains(&std::env::temp_dir()), "{reach:?}");
    assert!(!format!("{config:?}").contains("hunter2"));

    let wrong = [
        (
            text.replace("app = { ", "app = { token = \"x\", "),
            "has \"token\" and \"token_file\" in it",
        ),
        (
            text.replace("app = { ", "app = { url = \"https://x.example/\", "),
            "has \"url\" and \"url_file\" in it",
        ),
        (text.replace(&named(&url), "missing"), "the store \"app\": url_file: "),
        (text.replace(&named(&url), &named(&token)), "has a url that cannot be used"),
    ];
    for (text, words) in wrong {
        let told = load(&TempFile::new(&text).flags()).unwrap_err().to_string();
        assert!(told.contains(words) && !told.contains("hunter2"), "{text}\n{told}");
    }
    std::fs::write(secret.name(), "hunter2").unwrap();
    let told = load(&TempFile::new(&text).flags()).unwrap_err().to_string();
    assert!(told.contains("is shorter than 16 bytes") && !told.contains("hunter2"), "{told}");
}

#[test]
fn the_command_line_names_a_file_of_secrets_and_ps_shows_none() {
    let secrets = TempFile::new("first\nsecond\n");
    let flags = Flags {
        secret: vec![Secret::new("zeroth")],
        secret_file: Some(secrets.0.clone()),
        ..Flags::default()
    };
    let config = load(&flags).unwrap();
    assert_eq!(config.auth.secrets, ["zeroth", "first", "second"].map(Secret::new));
    let flags = Flags { secret_file: Some("does-not-exist".into()), ..Flags::default() };
    let message = load(&flags).unwrap_err().to_string();
    assert!(message.starts_with("--secret-file: does-not-exist cannot be read: "), "{message}");
}
