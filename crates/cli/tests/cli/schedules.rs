//! Schedules: set, fired, listed, removed, refused.

use crate::harness::Broker;
use serde_json::Value;

#[test]
fn a_schedule_sends_when_it_is_due_and_says_so() {
    let broker = Broker::start();
    let mut subscriber = broker.spawn(["subscribe", "clock.>", "--json", "--count", "2"]);
    subscriber.says("subscribed to");
    let mut set = broker.command(["schedule", "set", "tick", "--cron", "* * * * * *", "--json"]);
    let set = set.args(["--topic", "clock.tick", "--data", "tick"]).output().unwrap();
    let set: Value = serde_json::from_slice(&set.stdout).unwrap();
    assert!(set["next_at_ms"].as_u64().unwrap() > 0, "{set}");
    let events = subscriber.finish().ok();
    let events: Vec<Value> =
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let header = |event: &Value, name: &str| {
        let headers = event["headers"].as_array().unwrap();
        let found = headers.iter().find(|header| header[0] == name);
        found.map(|header| header[1].as_str().unwrap().to_owned()).unwrap()
    };
    assert_eq!(header(&events[0], "trunkline-schedule"), "tick");
    let due = |event: &Value| header(event, "trunkline-due").parse::<u64>().unwrap();
    assert_eq!(due(&events[0]) % 1000, 0);
    assert!(due(&events[1]) > due(&events[0]));
    assert_eq!(events[0]["payload"]["text"], "tick");

    let listed = broker.run(["schedule", "list", "--json"]).json();
    assert!(listed[0]["fired"].as_u64().unwrap() >= 2, "{listed}");
    let table = broker.run(["schedule", "list"]).ok();
    assert!(table.contains("tick") && table.contains("topic:clock.tick"), "{table}");
    broker.run(["schedule", "remove", "tick"]).ok();
    assert!(broker.run(["schedule", "list", "--json"]).json().as_array().unwrap().is_empty());
    broker.run(["schedule", "remove", "tick"]).fails(5);
}

#[test]
fn a_schedule_is_read_in_its_zone_and_the_list_pages() {
    let broker = Broker::start();
    let midnight = |name: &str, zone: &str| {
        let mut set = broker.command(["schedule", "set", name, "--cron", "0 0 1 1 *", "--json"]);
        let set = set.args(["--zone", zone, "--skill", "report"]).output().unwrap();
        let set: Value = serde_json::from_slice(&set.stdout).unwrap();
        set["next_at_ms"].as_u64().unwrap()
    };
    let (utc, tokyo) = (midnight("a", "UTC"), midnight("b", "Asia/Tokyo"));
    // The new year begins nine hours earlier there (or, in those hours of it, a year later).
    assert_ne!(utc, tokyo);
    assert_eq!((utc + 365 * 86_400_000 - tokyo) % 3_600_000, 0);
    let names = |options: [&str; 2]| -> Vec<String> {
        let mut list = broker.command(["schedule", "list", "--json"]);
        let list: Value =
            serde_json::from_slice(&list.args(options).output().unwrap().stdout).unwrap();
        list.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().into()).collect()
    };
    assert_eq!(names(["--limit", "1"]), ["a"]);
    assert_eq!(names(["--after", "a"]), ["b"]);
    let page = broker.run(["schedule", "list", "--limit", "1"]);
    assert!(page.stderr.contains("--after a"), "{page:?}");
}

#[test]
fn what_can_never_be_due_is_refused_with_the_brokers_words() {
    let broker = Broker::start();
    let refused = |cron: &str, zone: &str| {
        let mut set = broker.command(["schedule", "set", "x", "--cron", cron, "--zone", zone]);
        let output = set.args(["--skill", "report"]).output().unwrap();
        crate::harness::Finished::from(output).fails(4)
    };
    assert!(refused("0 0 30 2 *", "UTC").contains("never"));
    assert!(!refused("every day", "UTC").is_empty());
    let zone = refused("0 0 * * *", "Europe/Berlim");
    assert!(zone.contains("Europe/Berlin"), "{zone}");
    let both = ["schedule", "set", "x", "--cron", "0 0 * * *", "--skill", "y", "--key", "k"];
    broker.run(both).fails(4);
}
