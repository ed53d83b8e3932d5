//! What a book does with records.

use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

/// Records without those that came twice.
pub(crate) fn unique(records: Vec<Value>) -> Vec<Value> {
    let mut seen = HashSet::new();
    records.into_iter().filter(|record| seen.insert(record["id"].clone())).collect()
}

/// Sessions by the address of their client: the bytes there and back of all their records, which have to be without a gap,
/// in order, and add up to the last one's total. Only of those that have ended.
#[track_caller]
pub(crate) fn books(records: &[Value]) -> Vec<(String, u64, u64)> {
    let mut sessions: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for record in records.iter().filter(|record| record["session"].is_string()) {
        let id = record["id"].as_str().unwrap();
        let session = id.rsplit_once('.').unwrap().0.to_owned();
        sessions.entry(session).or_default().push(record);
    }
    let mut books = Vec::new();
    for (session, records) in sessions {
        let (mut there, mut back) = (0, 0);
        for (place, record) in records.iter().enumerate() {
            assert_eq!(record["sequence"], place, "{session}: {records:?}");
            there += record["interval"]["to_peer_bytes"].as_u64().unwrap_or(0);
            back += record["interval"]["to_client_bytes"].as_u64().unwrap_or(0);
        }
        assert_eq!(records[0]["kind"], "began", "{records:?}");
        let last = records.last().unwrap();
        if last["kind"] == "ended" {
            assert_eq!(last["total"]["to_peer_bytes"], there);
            assert_eq!(last["total"]["to_client_bytes"], back);
            books.push((last["client"].as_str().unwrap().to_owned(), there, back));
        }
    }
    books.sort();
    books
}
