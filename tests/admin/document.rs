//! The OpenAPI document has exactly the routes that there are, and exactly the fields of what is answered.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::http::call;
use super::server::Server;
use super::{ALICE, alice, socket};

const DOCUMENT: &str = include_str!("../../docs/openapi.json");

fn document() -> Value {
    serde_json::from_str(DOCUMENT).expect("JSON")
}

/// The routes as the router has them: `get /v1/status` and so on.
fn routes() -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/control/admin/mod.rs");
    let code = fs::read_to_string(path).expect("the router");
    // A handler that has a name of its own stands right above its route.
    let sessions = "get(sessions::list).delete(sessions::end_many)";
    assert!(code.contains(&format!("let sessions = {sessions};")));
    let mut found = BTreeSet::new();
    for route in code.split(".route(\"").skip(1) {
        let (path, rest) = route.split_once("\", ").expect("a path");
        let handlers = rest.lines().next().expect("handlers").replace("sessions)", sessions);
        for method in ["get", "post", "put", "delete", "patch", "any"] {
            if handlers.contains(&format!("{method}(")) {
                found.insert(format!("{method} {path}"));
            }
        }
    }
    found
}

#[test]
fn every_route_is_in_the_document_and_no_other() {
    let document = document();
    let mut written = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let methods = methods.as_object().expect("methods").keys();
        written.extend(methods.map(|method| format!("{method} {path}")));
    }
    assert_eq!(written, routes());
    assert!(written.len() > 15);
}

/// A value is what the schema says, with all the fields that it names and no others.
fn conforms(value: &Value, schema: &Value, document: &Value, at: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.strip_prefix("#/components/schemas/").expect("a schema");
        let schema = &document["components"]["schemas"][name];
        assert!(schema.is_object(), "{at}: no schema {name}");
        return conforms(value, schema, document, at);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        assert_eq!(any[1], json!({ "type": "null" }));
        if !value.is_null() {
            conforms(value, &any[0], document, at);
        }
        return;
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let kinds = schema["type"].as_array().cloned().unwrap_or(vec![schema["type"].clone()]);
    let fits = kinds.iter().any(|it| it == kind || it == "number" && kind == "integer");
    assert!(fits, "{at} is {value}, and not {kinds:?}");
    if let Some(words) = schema["enum"].as_array() {
        assert!(words.contains(value), "{at} is {value}");
    }
    for (place, value) in value.as_array().into_iter().flatten().enumerate() {
        conforms(value, &schema["items"], document, &format!("{at}[{place}]"));
    }
    if let (Some(fields), Some(known)) = (value.as_object(), schema["properties"].as_object()) {
        let names = |object: &serde_json::Map<String, Value>| {
            object.keys().cloned().collect::<BTreeSet<_>>()
        };
        assert_eq!(names(fields), names(known), "{at}");
        for (name, value) in fields {
            conforms(value, &known[name], document, &format!("{at}.{name}"));
        }
    }
}

#[test]
fn what_is_answered_is_what_the_document_says() {
    let server = Server::start(&ALICE);
    let (socket, mut client) = (socket(&server), alice(&server));
    let document = call(&socket, "GET", "/v1/openapi.json", "").1;
    assert_eq!(document, self::document());
    client.allocate();
    client.bind(0x4000, "127.0.0.1:9".parse().unwrap());
    let denied = client.request(turnwire::stun::Method::CREATE_PERMISSION, |writer| {
        let peer = "10.0.0.1:9".parse().unwrap();
        writer.xor_address(turnwire::stun::attribute::XOR_PEER_ADDRESS, peer);
    });
    assert_eq!(denied.code(), 403);
    let list = call(&socket, "GET", "/v1/sessions", "").1;
    let id = list["sessions"][0]["id"].as_str().expect("one session").to_owned();
    let one = format!("/v1/sessions/{id}");
    let measured = format!("{one}?measure_ms=1");
    let revoke = r#"{"user":"carol"}"#;
    let requests = [
        ("get", "/v1/sessions", "/v1/sessions?limit=1", ""),
        ("get", "/v1/sessions/{id}", one.as_str(), ""),
        ("get", "/v1/sessions/{id}", measured.as_str(), ""),
        ("delete", "/v1/sessions/{id}", one.as_str(), ""),
        ("delete", "/v1/sessions", "/v1/sessions?user=nobody", ""),
        ("get", "/v1/status", "/v1/status", ""),
        ("get", "/v1/counters", "/v1/counters", ""),
        ("get", "/v1/config", "/v1/config", ""),
        ("post", "/v1/credentials/revoke", "/v1/credentials/revoke", revoke),
        ("get", "/v1/credentials/revoked", "/v1/credentials/revoked", ""),
        ("delete", "/v1/credentials/revoked", "/v1/credentials/revoked?user=carol", ""),
        ("put", "/v1/log-level", "/v1/log-level", r#"{"level":"warn"}"#),
        ("post", "/v1/reload", "/v1/reload", ""),
        ("get", "/v1/status", "/v1/status?", ""),
        ("post", "/v1/drain", "/v1/drain", r#"{"deadline_seconds":60}"#),
    ];
    for (method, route, path, body) in requests {
        let (code, answer) = call(&socket, &method.to_uppercase(), path, body);
        let response = &document["paths"][route][method]["responses"][code.to_string()];
        let schema = &response["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path} is answered with {code}: {answer}");
        conforms(&answer, schema, &document, path);
    }
    let problem = &document["components"]["schemas"]["Problem"];
    conforms(&call(&socket, "GET", "/v1/sessions/0-4711", "").1, problem, &document, "a problem");
}
