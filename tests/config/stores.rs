//! What can be wrong about stores.

use turnwire::config::examine;

use super::{TempFile, only, problems};

#[test]
fn a_store_that_cannot_be_is_told_by_its_name() {
    let cases = [
        ("a = 1", "the store \"a\" must be a table"),
        ("a = { path = \"x\" }", "the store \"a\" has no kind"),
        ("a = { kind = \"fil\", path = \"x\" }", "is of no kind that is known"),
        ("a = { kind = \"file\" }", "lies in a file: it needs a path, and no url"),
        ("a = { kind = \"file\", path = \"x\", url = \"y\" }", "it needs a path, and no url"),
        ("a = { kind = \"http\", path = \"x\" }", "it needs a url, and no path"),
        ("a = { kind = \"http\", url = \"ftp://u:SECRET@x\" }", "has a url that cannot be used"),
        ("a = { kind = \"file\", path = \"x\", token = \"t\" }", "which is for the kind \"http\""),
        (
            "a = { kind = \"file\", path = \"x\", timeout_milliseconds = 0 }",
            "has timeout_milliseconds that cannot be",
        ),
        ("a = { kind = \"file\", path = \"x\", pth = \"x\" }", "has \"pth\" in it"),
    ];
    for (text, words) in cases {
        let message = only(&format!("[stores.ask]\n{text}"));
        assert!(message.starts_with("2:1: stores.ask: the store \"a\""), "{message}");
        assert!(message.contains(words) && !message.contains("SECRET"), "{message}");
    }
    if !cfg!(feature = "redis") {
        let message = only("[stores.ask]\na = { kind = \"redis\", url = \"redis://x\" }");
        assert!(message.contains("build it with the feature `redis`"), "{message}");
    }
    let text = "[stores.ask]\na = { kind = \"http\", url = \"x\", token = \"SECRET\" }";
    assert!(!problems(text).to_string().contains("SECRET"));
}

#[test]
fn names_behind_a_hash_are_found_in_no_store() {
    let text = "[auth]\nusername_anonymity = true\n[auth.users]\nbob = \"x\"\n[stores.ask]\n\
                a = { kind = \"file\", path = \"x\" }";
    let message = only(text);
    assert!(message.contains("cannot be offered together with stores"), "{message}");
}

#[test]
fn a_file_of_users_is_read_by_check_config_from_where_the_configuration_lies() {
    let users = TempFile::new("[users]\nalice = \"x\"\nbob = 7\n");
    let name = users.name();
    let name = std::path::Path::new(&name).file_name().unwrap().to_str().unwrap().to_owned();
    let text = format!("[stores.ask]\nteam = {{ kind = \"file\", path = \"{name}\" }}\n");
    let file = TempFile::new(text);
    let problems = examine(&file.flags()).config.unwrap_err().to_string();
    assert!(problems.contains("the store \"team\""), "{problems}");
    assert!(problems.contains(":3: a user is a password in quotes"), "{problems}");
    std::fs::write(users.name(), "[users]\nalice = \"x\"\n").unwrap();
    assert!(examine(&file.flags()).config.is_ok());
}
