//! How many workers there are, what they hold, and what they have done, against a scripted broker.

use crate::common::gate::{Gate, begun, deliver, ended, warm_up};
use crate::common::{Line, Script, reply_text};
use std::sync::Arc;
use std::time::Duration;
use trunkline_agent::prelude::*;
use trunkline_agent::{AgentBuilder, Profile};
use trunkline_types::Token;
use trunkline_types::session::{Operation, SessionItem};

#[tokio::test(start_paused = true)]
async fn the_workers_come_while_work_waits_and_go_when_they_are_not_needed() {
    let script = Script::prompt();
    let gate = Gate::new();
    let quick = |_: Task| async move { Ok(()) };
    let agent = script.agent("a").skill("s", gate.clone()).skill("quick", quick).workers(1..=4);
    let agent = agent.start().await.unwrap();
    let line = script.line(0);
    let tokens = deliver(&line, "s", 6);
    begun(&line, 4).await;
    assert_eq!((agent.stats().workers.len(), agent.stats().queued), (4, 2));
    gate.open(6);
    for token in tokens {
        ended(&line, token).await;
    }
    // A short gap ends nobody.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(agent.stats().workers.len(), 4);
    // A little work keeps as many as it takes, not those who came for more.
    for _ in 0..10 {
        ended(&line, line.deliver("quick", "x")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let stats = agent.stats();
    assert_eq!((stats.workers.len(), stats.idle), (1, 1));
    assert_eq!(stats.completed, 16, "what those who went have done is counted");
}

#[tokio::test(start_paused = true)]
async fn as_many_workers_stay_as_are_to_be_there_at_least() {
    let script = Script::prompt();
    let gate = Gate::new();
    let quick = |_: Task| async move { Ok(()) };
    let agent = script.agent("a").skill("s", gate.clone()).skill("quick", quick).workers(2..=4);
    let agent = agent.start().await.unwrap();
    let line = script.line(0);
    let tokens = deliver(&line, "s", 4);
    begun(&line, 4).await;
    gate.open(4);
    for token in tokens {
        ended(&line, token).await;
    }
    for _ in 0..10 {
        ended(&line, line.deliver("quick", "x")).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(agent.stats().workers.len(), 2);
}

#[tokio::test]
async fn a_longer_time_to_drain_makes_do_with_fewer_workers() {
    for (within, most) in [(Duration::from_hours(1), 1), (Duration::from_millis(1), 4)] {
        let script = Script::prompt();
        let gate = Gate::new();
        let agent = script.agent("a").skill("s", gate.clone()).workers(1..=4).drain_within(within);
        let agent = agent.start().await.unwrap();
        let line = script.line(0);
        let tokens = deliver(&line, "s", 8);
        begun(&line, most).await;
        for token in tokens {
            gate.open(1);
            line.outcome_of(token).await;
        }
        assert_eq!(gate.most(), most, "{within:?}");
        agent.stop().await;
    }
}

#[tokio::test]
async fn work_behind_a_handler_that_takes_longer_than_others_goes_to_another_worker() {
    let script = Script::prompt();
    let gate = Gate::new();
    // Takes long enough for one worker to be enough, as far as is known.
    let usual = |_: Task| async move {
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_micros(200) {
            std::hint::spin_loop();
        }
        Ok(())
    };
    let agent = script.agent("a").skill("long", gate.clone()).skill("usual", usual);
    let agent = agent.workers(1..=2).drain_within(Duration::from_millis(50));
    let agent = agent.start().await.unwrap();
    let line = script.line(0);
    while agent.stats().handler_time >= Duration::from_millis(2) {
        line.outcome_of(line.deliver("usual", "x")).await;
    }
    let long = line.deliver("long", "x");
    begun(&line, 1).await;
    line.outcome_of(line.deliver("usual", "x")).await;
    assert_eq!(line.outcome(long), None);
    gate.open(1);
    line.outcome_of(long).await;
}

#[tokio::test]
async fn a_handler_runs_no_more_often_at_once_than_it_may_and_holds_up_no_other() {
    let script = Script::prompt();
    let gate = Gate::new();
    let wide = |_: Task| async move { Ok(()) };
    let agent = script.agent("a").skill("narrow", gate.clone().parallel(2)).skill("wide", wide);
    let agent = agent.workers(1..=8).start().await.unwrap();
    let line = script.line(0);
    let narrow = deliver(&line, "narrow", 6);
    begun(&line, 2).await;
    for token in deliver(&line, "wide", 6) {
        line.outcome_of(token).await;
    }
    for token in narrow {
        gate.open(1);
        line.outcome_of(token).await;
    }
    assert_eq!(gate.most(), 2);
    agent.stop().await;
}

#[tokio::test]
async fn an_agent_asks_for_no_more_than_its_handlers_may_begin() {
    let script = Script::prompt();
    let nothing = |_: Task| async move { Ok(()) };
    let narrow = nothing.parallel(2);
    let starts = [
        script.agent("a").skill("s", nothing),
        script.agent("b").skill("s", narrow.clone()),
        script.agent("c").skill("s", narrow.clone()).skill("t", narrow.clone()),
        script.agent("d").skill("s", narrow).skill("t", nothing),
    ];
    for (at, (agent, credit)) in starts.into_iter().zip([8, 2, 4, 8]).enumerate() {
        let _agent = agent.workers(1..=8).start().await.unwrap();
        assert_eq!(script.line(at).hello.credit.deliveries, credit);
    }
}

/// The credit that an agent comes to whose handlers take microseconds.
async fn credit_when_fast(configure: impl FnOnce(AgentBuilder) -> AgentBuilder) -> u32 {
    let script = Script::prompt();
    let agent = configure(script.agent("a").skill("s", |_: Task| async move { Ok(()) }));
    let agent = agent.start().await.unwrap();
    let line = script.line(0);
    warm_up(&line, &agent, "s").await;
    agent.stats().credit
}

#[tokio::test]
async fn what_is_held_ready_is_bounded_by_the_prefetch_and_by_the_headroom() {
    let hour = Duration::from_hours(1);
    let ready = |most, headroom| {
        credit_when_fast(move |it| it.workers(1..=1).prefetch(most).headroom(headroom))
    };
    assert_eq!(ready(48, hour).await, 1 + 48);
    assert_eq!(ready(0, hour).await, 1);
    assert_eq!(ready(48, Duration::ZERO).await, 1);
    // Ten microseconds of work are a handler or more, but not as many as may be held.
    let few = ready(4096, Duration::from_micros(10)).await;
    assert!((2..1000).contains(&few), "{few}");
}

#[tokio::test]
async fn a_profile_sets_what_is_not_set_after_it() {
    let script = Script::prompt();
    for (at, (profile, workers)) in
        [(Profile::InProcess, 8), (Profile::Remote, 32)].into_iter().enumerate()
    {
        assert_eq!(*profile.workers().end(), workers);
        let _agent = script.agent("a").profile(profile).start().await.unwrap();
        assert_eq!(script.line(at).hello.credit.deliveries, workers);
    }
    let remote = |it: AgentBuilder| it.profile(Profile::Remote);
    assert_eq!(credit_when_fast(remote).await, 32 + Profile::Remote.prefetch());
    let own = credit_when_fast(move |it| remote(it).workers(1..=2).prefetch(8)).await;
    assert_eq!(own, 2 + 8);
    let none = credit_when_fast(move |it| remote(it).headroom(Duration::ZERO)).await;
    assert_eq!(none, 32);
    // 2 ms hold 20 handlers of 100 µs, and 20 ms hold more.
    assert!(credit_when_slower(Profile::InProcess).await <= 1 + 20);
    assert!(credit_when_slower(Profile::Remote).await > 1 + 20);
}

/// The most credit that an agent with one worker comes to whose handlers take 100 µs or longer.
async fn credit_when_slower(profile: Profile) -> u32 {
    let script = Script::prompt();
    let handler = |_: Task| async move {
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_micros(100) {
            std::hint::spin_loop();
        }
        Ok(())
    };
    let agent = script.agent("a").skill("s", handler).profile(profile).workers(1..=1);
    let agent = agent.start().await.unwrap();
    let line = script.line(0);
    let mut most = 0;
    for _ in 0..400 {
        line.outcome_of(line.deliver("s", "x")).await;
        most = most.max(agent.stats().credit);
        if most > 1 + 20 {
            break;
        }
    }
    most
}

/// What a broker does: hands work to whoever has said that it will hold more.
fn hand_out(lines: &[(Arc<Line>, &Agent)], held: &mut [Vec<Token>], mut left: usize) -> usize {
    for ((line, agent), held) in lines.iter().zip(held) {
        let going_on = held.iter().filter(|token| line.outcome(**token).is_none()).count();
        let more = (agent.stats().credit as usize).saturating_sub(going_on).min(left);
        held.extend(deliver(line, "s", more));
        left -= more;
    }
    left
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_agent_leaves_the_work_to_a_fast_one_beside_it() {
    let script = Script::prompt();
    let gate = Gate::new();
    let slow = script.agent("slow").skill("s", gate.clone()).workers(1..=2);
    let slow = slow.start().await.unwrap();
    let quick = |_: Task| async move { Ok(()) };
    let fast = script.agent("fast").skill("s", quick).workers(1..=2).start().await.unwrap();
    let lines = [(script.line(0), &slow), (script.line(1), &fast)];
    let mut held = [Vec::new(), Vec::new()];
    let mut left = 600;
    while left > 0 {
        left = hand_out(&lines, &mut held, left);
        tokio::task::yield_now().await;
    }
    for &token in &held[1] {
        lines[1].0.outcome_of(token).await;
    }
    assert_eq!(held.each_ref().map(Vec::len), [2, 598]);
    gate.open(2);
    for &token in &held[0] {
        lines[0].0.outcome_of(token).await;
    }
}

#[tokio::test]
async fn each_worker_has_figures_of_its_own() {
    let script = Script::prompt();
    let gate = Gate::new();
    let fails = |_: Task| async move { Err::<(), _>(HandlerError::fail("no")) };
    let agent = script.agent("a").skill("s", gate.clone()).skill("fails", fails).workers(2..=2);
    let agent = agent.start().await.unwrap();
    let line = script.line(0);
    let numbers: Vec<_> = agent.stats().workers.iter().map(|worker| worker.number).collect();
    assert_eq!(numbers, [1, 2]);
    // One is at work, so the other one has the rest.
    let long = line.deliver("s", "x");
    begun(&line, 1).await;
    for _ in 0..3 {
        line.outcome_of(line.deliver("fails", "x")).await;
    }
    let stats = agent.stats();
    let mut done: Vec<_> = stats.workers.iter().map(|it| (it.messages, it.errors)).collect();
    done.sort_unstable();
    assert_eq!(done, [(0, 0), (3, 3)]);
    let at_work = stats.workers.iter().find(|worker| worker.messages == 0).unwrap();
    assert!(at_work.busy > Duration::ZERO && at_work.busy <= at_work.age);
    gate.open(1);
    line.outcome_of(long).await;
    // It rests, so that its share of the time falls while it is there.
    while agent.stats().idle < 2 {
        tokio::task::yield_now().await;
    }
    let share = |stats: trunkline_agent::AgentStats| {
        stats.workers.iter().find(|worker| worker.number == at_work.number).unwrap().busy_share()
    };
    let first = share(agent.stats());
    assert!(first > 0.0 && first < 1.0, "{first}");
    while share(agent.stats()) >= first {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn options_out_of_range_are_refused_with_the_value_and_the_limit() {
    let script = Script::prompt();
    let nothing = |_: Task| async move { Ok(()) };
    let many = |_: Vec<Task>| async move { Vec::<HandlerResult<()>>::new() };
    let agent = || script.agent("a");
    let sound = || async { Ok(()) };
    for (agent, message) in [
        (agent().drain_within(Duration::ZERO), "drain_within is 0, the least is 1 µs"),
        (agent().health(sound, Duration::ZERO), "health is checked every 0ns, the least is 1 ms"),
        (
            agent().skill("s", trunkline_agent::batch(0, many)),
            "a handler's batch is 0, the range is 1 to 1024",
        ),
        (
            agent().skill("s", trunkline_agent::batch(1025, many)),
            "a handler's batch is 1025, the range is 1 to 1024",
        ),
        (agent().skill("s", nothing.parallel(0)), "a handler runs 0 times at once, the least is 1"),
    ] {
        assert_eq!(agent.start().await.unwrap_err().message, message);
    }
    assert_eq!(script.lines(), 0);
}

#[tokio::test]
async fn a_handler_at_its_bound_that_awaits_a_reply_lends_its_place_too() {
    let script = Script::prompt();
    let handler = |task: Task| async move {
        if &*task.text() == "inner" {
            return Ok("answer".to_owned());
        }
        let reply = task.request(Destination::skill("s")?, "inner").await?;
        Ok(format!("heard {}", reply.text()))
    };
    let agent = script.agent("a").skill("s", handler.parallel(1)).workers(1..=1);
    let agent = agent.start().await.unwrap();
    let line = script.line(0);
    let outer = line.deliver("s", "outer");
    let request = line
        .wait(|line| {
            line.operations().into_iter().find_map(|operation| match operation {
                Operation::Publish(publish) => Some(publish.envelope.id),
                _ => None,
            })
        })
        .await;
    let inner = reply_text(line.outcome_of(line.deliver("s", "inner")).await);
    let result = Ok(inner.into());
    let reply = trunkline_types::session::Reply { request, agent: None, result };
    line.say([SessionItem::Reply(reply)]);
    assert_eq!(reply_text(line.outcome_of(outer).await), "heard answer");
    agent.stop().await;
}
