//! The moments that only concurrency brings about, one by one.

use super::{LaneTable, Turn, TurnEnd};
use contract::{
    clock::Timestamp,
    id::{DeliveryId, LaneId, Sequence},
    master_api::FeedItem,
    queue::Vacancy,
};

const LANE: LaneId = LaneId(0x15);
const FULL: TurnEnd = TurnEnd::Full { read: Sequence(3), retries: false };

fn item(sequence: u64) -> FeedItem {
    let sequence = Sequence(sequence);
    FeedItem { delivery: DeliveryId { lane: LANE, sequence }, due: Timestamp(0), key: None }
}

fn offer(table: &LaneTable, sequence: u64) {
    table.offer(Sequence(sequence), &[LANE], Timestamp(0));
}

/// What may go to the queue directly.
fn direct(table: &LaneTable) -> Vec<u64> {
    let items = table.admit(usize::MAX).unwrap_or_default();
    items.iter().map(|item| item.delivery.sequence.0).collect()
}

/// A table whose lane is behind and has its turn.
fn reading() -> (LaneTable, Turn) {
    let table = LaneTable::new(4);
    table.start(&[]);
    table.refuse(item(1));
    let turn = table.turns(1).remove(0);
    (table, turn)
}

#[test]
fn what_is_offered_while_a_page_is_read_follows_it() {
    let (table, turn) = reading();
    // 3 is on the page, 4 and 5 were stored after it.
    [3, 5, 4].into_iter().for_each(|sequence| offer(&table, sequence));
    assert!(direct(&table).is_empty());
    table.end(turn, TurnEnd::CaughtUp { read: Sequence(3) });
    assert_eq!(direct(&table), [4, 5]);
}

#[test]
fn what_was_offered_before_and_is_on_the_page_does_not_come_twice() {
    let (table, turn) = reading();
    [3, 4].into_iter().for_each(|sequence| offer(&table, sequence));
    table.end(turn, TurnEnd::CaughtUp { read: Sequence(3) });
    assert_eq!(direct(&table), [4]);
}

#[test]
fn too_many_offers_during_a_page_make_another_page() {
    let (table, turn) = reading();
    (4..9).for_each(|sequence| {
        offer(&table, sequence);
        assert!(direct(&table).is_empty());
    });
    // Five are more than the shortcut may keep.
    table.end(turn, TurnEnd::CaughtUp { read: Sequence(3) });
    let next = table.turns(1).remove(0);
    assert_eq!(next.after, Sequence(3));
    table.end(next, TurnEnd::CaughtUp { read: Sequence(8) });
    assert_eq!(table.lanes_behind(), 0);
}

#[test]
fn a_vacancy_that_overtakes_its_refusal_is_not_lost() {
    let (table, turn) = reading();
    table.vacate(Vacancy { lane: LANE, room: 7 });
    table.end(turn, FULL);
    let next = table.turns(1).remove(0);
    assert_eq!((next.after, next.room), (Sequence(3), Some(7)));

    let open = LaneTable::new(4);
    open.start(&[]);
    open.vacate(Vacancy { lane: LANE, room: 7 });
    assert!(open.has_turns());
}

#[test]
fn a_full_lane_waits_for_its_vacancy() {
    let (table, turn) = reading();
    table.end(turn, FULL);
    offer(&table, 9);
    assert!(direct(&table).is_empty());
    assert!(!table.has_turns());
    table.vacate(Vacancy { lane: LANE, room: 2 });
    table.vacate(Vacancy { lane: LANE, room: 2 });
    assert_eq!(table.turns(9).len(), 1);
}

#[test]
fn retries_are_wanted_until_a_turn_has_brought_them() {
    let (table, turn) = reading();
    assert!(!turn.retries);
    table.end(turn, FULL);
    assert!(table.want_retries(LANE));
    table.vacate_all();
    let turn = table.turns(1).remove(0);
    assert!(turn.retries);
    table.end(turn, TurnEnd::Failed);
    let turn = table.turns(1).remove(0);
    assert!(turn.retries);
    table.end(turn, TurnEnd::More { read: Sequence(5) });
    assert!(!table.turns(1).remove(0).retries);
}

#[test]
fn a_lane_that_is_read_again_waits_for_room_unless_it_is_rewound() {
    let (table, turn) = reading();
    table.end(turn, FULL);
    table.reread(LANE);
    assert!(!table.has_turns());
    table.rewind(LANE);
    let turn = table.turns(1).remove(0);
    assert_eq!((turn.after, turn.retries), (Sequence(0), true));
    assert!(!table.want_retries(LaneId(0x25)));
}
