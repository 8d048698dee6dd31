//! Filters: compiling and evaluating never panics and ends soon (the run's own time limit for
//! one input sees to that), and all who may be asked about an event say the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::panic::{AssertUnwindSafe, catch_unwind};
use trunkline_engine::{Rules, Verdict};
use trunkline_rules::Rulebook;
use trunkline_types::{
    Destination, Envelope, Filter, Kind, MessageId, Partition, Payload, Publish,
};

fuzz_target!(
    init: {
        // The library for CEL is fenced: a panic in it counts as a filter that wants nothing. The
        // fuzzer's own hook would end the process there, so this one only waits for what gets out.
        std::panic::set_hook(Box::new(|_| ()));
    },
    |data: &[u8]| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(data))) {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            eprintln!("panicked: {}", text.unwrap_or("no text"));
            std::process::abort();
        }
    }
);

fn check(data: &[u8]) {
    let mut parts = data.splitn(2, |&byte| byte == 0);
    let (text, payload) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let Some(filter) = std::str::from_utf8(text).ok().and_then(|text| Filter::new(text).ok())
    else {
        return;
    };
    let rules = Rulebook::new();
    let checked = rules.check_filter(&filter);
    if let Err(problem) = &checked {
        assert!(!problem.is_empty(), "a refusal says what is wrong");
    }
    assert_eq!(Rulebook::new().check_filter(&filter), checked, "the same every time");
    for content_type in ["application/json", "application/msgpack"] {
        let event = event(Payload::new(content_type, payload.to_vec()));
        let wanted = rules.matches(&filter, &event);
        assert!(checked.is_ok() || !wanted, "what does not compile wants nothing");
        assert_eq!(rules.matches(&filter, &event), wanted, "the same every time");
        let judged = rules.verdicts(&event, [filter.clone()]);
        assert_eq!(judged.verdicts, [(filter.clone(), Verdict::from(wanted))]);
        assert_eq!(judged.left_out, 0, "one filter is always within what all may have");
    }
}

fn event(payload: Payload) -> Publish {
    let id = MessageId::from_parts(1_700_000_000_000, Partition(0), 7);
    let to = Destination::topic("build.linux.done").expect("it is a topic");
    let mut envelope = Envelope::new(id, Kind::Event, to, payload);
    envelope.source = "a".parse().ok();
    envelope.headers = vec![("env".into(), "prod".into()), ("n".into(), "17".into())];
    Publish::new(envelope)
}
