//! One suite for every store: what the port promises, whatever keeps it.
//!
//! A backend runs it by naming a [`Place`] in [`suite`]; a case is added there once and then holds for all.

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tranche_actors::domain::ledger::{Applied, Refusal, Write};
use tranche_actors::domain::names::AccountName;
use tranche_actors::domain::trading_day::DayEnd;
use tranche_actors::ports::store::{Acquired, Batch, Commit, Ownership, Store, StoreError, Writer};

pub(crate) mod auditing;
pub(crate) mod canceling;
pub(crate) mod capital;
pub(crate) mod claiming;
pub(crate) mod committing;
pub(crate) mod fixtures;
pub(crate) mod flattening;
pub(crate) mod leasing;
pub(crate) mod limiting;
mod memory;
pub(crate) mod pausing;
pub(crate) mod reading;
pub(crate) mod repeating;
pub(crate) mod replacing;
pub(crate) mod reporting;
pub(crate) mod submitting;
pub(crate) mod switching;

/// Where a store keeps its data; empty at first.
#[async_trait]
pub(crate) trait Place: Send + Sync {
    /// A store on what this place holds, not opened. The one before it is closed.
    async fn store(&self) -> Box<dyn Store>;
}

/// A store in use: one account taken, one nonce for each batch, and a clock that only tests turn.
pub(crate) struct Desk {
    pub(crate) store: Box<dyn Store>,
    pub(crate) owner: Ownership,
    nonce: AtomicU64,
    seconds: AtomicU64,
}

impl Desk {
    pub(crate) async fn at(place: &dyn Place) -> Self {
        let store = place.store().await;
        store.open().await.unwrap();
        let owner = take(&*store, &account(), "test").await;
        Self { store, owner, nonce: AtomicU64::new(u64::MAX - 50), seconds: AtomicU64::new(0) }
    }

    /// The same place, closed and opened again.
    pub(crate) async fn again(self, place: &dyn Place) -> Self {
        self.store.close().await;
        Self::at(place).await
    }

    pub(crate) fn batch(&self, writes: Vec<Write>) -> Batch {
        Batch {
            writer: Writer::Owner(self.owner.clone()),
            nonce: self.nonce.fetch_add(1, Ordering::Relaxed),
            at: self.tick(),
            day_end: DayEnd::new_york(),
            writes,
        }
    }

    /// A batch of what belongs to no account.
    pub(crate) fn global(&self, writes: Vec<Write>) -> Batch {
        Batch { writer: Writer::Nobody, ..self.batch(writes) }
    }

    pub(crate) async fn commit(&self, writes: Vec<Write>) -> Result<Commit, StoreError> {
        self.store.commit(&self.batch(writes)).await
    }

    /// One write in a batch of its own.
    pub(crate) async fn write(&self, write: Write) -> Result<Applied, Refusal> {
        let mut results = self.commit(vec![write]).await.unwrap();
        assert_eq!(results.len(), 1);
        results.remove(0)
    }

    fn tick(&self) -> DateTime<Utc> {
        let seconds = self.seconds.fetch_add(1, Ordering::Relaxed);
        fixtures::start() + TimeDelta::seconds(i64::try_from(seconds).unwrap())
    }
}

/// Takes an account for good.
pub(crate) async fn take(store: &dyn Store, account: &AccountName, instance: &str) -> Ownership {
    match store.acquire(account, instance, None).await.unwrap() {
        Acquired::Taken(ownership) => ownership,
        Acquired::HeldBy { owner, .. } => panic!("{owner} has {account}"),
    }
}

pub(crate) fn account() -> AccountName {
    AccountName::parse("default").unwrap()
}

/// Every case as a test of its own, at a place of its own.
macro_rules! suite {
    ($place:expr) => {
        $crate::storage::conformance::suite!(@ $place;
            submitting::a_parent_is_kept_with_its_slices_and_one_event,
            submitting::a_repeated_submission_is_answered_with_the_first_and_changes_nothing,
            submitting::a_key_names_one_request_of_its_caller,
            submitting::an_id_names_one_order_of_any_kind,
            submitting::one_of_two_equal_submissions_in_a_batch_is_a_replay,
            submitting::a_key_names_one_thing_of_any_kind_in_a_batch,
            submitting::a_refused_submission_takes_neither_its_id_nor_its_key,
            submitting::every_field_comes_back_as_it_was,
            submitting::numbers_are_exact_and_times_keep_their_microseconds,
            claiming::a_claim_takes_a_slice_once,
            claiming::a_claim_needs_the_plan_version_and_a_working_parent,
            claiming::a_canceled_single_order_is_not_claimed,
            claiming::an_answer_to_another_attempt_is_refused,
            claiming::what_never_left_goes_back_until_its_tries_are_used_up,
            claiming::an_absent_order_is_claimed_again_under_its_id,
            claiming::a_refusal_of_a_later_send_ends_nothing_that_may_still_arrive,
            claiming::what_is_at_the_venue_can_not_be_absent,
            claiming::ends_are_final_and_add_up,
            flattening::a_position_is_closed_only_for_the_engagement_in_force,
            flattening::the_next_closing_order_follows_the_end_of_the_one_before,
            flattening::the_halt_of_an_account_closes_that_account_alone,
            reporting::fills_in_any_order_and_number_come_to_the_same,
            reporting::an_execution_is_kept_once,
            reporting::a_position_is_written_over_by_nobody_who_has_not_read_it,
            reporting::a_correction_replaces_the_totals,
            reporting::a_report_of_what_we_did_not_send_is_refused,
            reporting::what_comes_back_after_it_was_given_up_counts_and_is_cancelled,
            reporting::an_operator_settles_an_order,
            reporting::positions_open_flip_and_count_their_versions,
            capital::capital_is_moved_on_the_version_that_was_seen,
            capital::a_fill_books_what_it_brought_with_itself,
            capital::a_bust_gives_back_what_its_trade_brought,
            capital::results_belong_to_the_trading_day_of_the_trade,
            capital::trades_of_one_report_count_to_the_day_of_each,
            capital::a_day_is_opened_once,
            canceling::a_parents_cancel_marks_every_child_before_anything_is_asked,
            canceling::a_single_orders_cancel_ends_or_marks_it,
            canceling::a_cancel_is_taken_or_refused,
            canceling::a_schedules_end_marks_what_rests,
            pausing::a_paused_parent_says_why_and_is_claimed_of_nothing_until_it_is_resumed,
            pausing::what_may_have_been_sent_is_put_in_doubt_with_the_pause,
            replacing::a_replacement_is_kept_with_its_place,
            replacing::an_order_goes_back_when_its_replacement_is_refused,
            replacing::a_chain_counts_once_over_transactions,
            replacing::a_parents_cancel_meets_a_chain_whole,
            replacing::slices_and_what_took_their_place_are_listed_by_number,
            replacing::trails_and_auctions_come_back_as_they_were,
            committing::a_refused_write_disturbs_no_other,
            committing::a_batch_sees_what_it_wrote_before,
            committing::a_deposed_owner_writes_nothing,
            committing::a_deposed_owner_disturbs_nothing,
            committing::a_batch_that_is_refused_whole_leaves_nothing_behind,
            committing::a_slice_has_a_parent_and_a_single_order_a_caller,
            committing::what_is_of_another_account_is_not_there,
            committing::events_are_numbered_without_gaps_in_the_order_of_their_commits,
            committing::a_batch_is_settled_by_its_nonce,
            committing::only_the_last_batch_of_an_account_is_known_to_be_committed,
            committing::a_store_that_is_not_open_says_so,
            committing::opening_again_keeps_everything_and_raises_the_term,
            leasing::a_lease_keeps_others_out_until_it_is_over,
            leasing::a_renewed_lease_goes_on_from_the_renewal,
            leasing::an_account_that_is_given_up_is_free_at_once_and_its_owner_writes_nothing,
            leasing::an_instance_takes_anew_what_it_holds_itself,
            leasing::only_one_of_many_takes_an_account,
            leasing::who_is_deposed_renews_and_releases_nothing,
            leasing::a_term_is_its_owners_alone,
            leasing::a_guest_marks_a_cancel_whatever_the_term_is,
            leasing::a_guests_batch_is_never_settled_and_names_nothing,
            leasing::instances_are_seen_until_they_say_good_bye,
            switching::the_switches_start_open_and_keep_what_was_set,
            switching::stopped_parts_are_kept_and_of_two_writers_one_is_told,
            switching::a_quarantined_symbol_is_listed_once,
            switching::a_quarantine_ends_with_its_last_cause_and_a_cleared_one_never_comes_back,
            switching::a_quarantine_stops_what_follows_in_its_batch_and_after_it,
            switching::a_history_has_at_most_so_many_entries,
            switching::a_switch_moves_on_only_from_what_the_writer_saw,
            switching::the_first_start_is_over_once,
            switching::what_an_instance_confirms_first_stays,
            limiting::limits_come_back_as_they_were_set,
            limiting::limits_move_on_only_from_what_the_writer_saw,
            limiting::claims_of_late_are_told_as_often_as_they_were_made,
            limiting::a_claim_names_the_limits_that_hold_and_keeps_whether_it_reduces,
            limiting::slices_that_are_due_say_how_much_they_are,
            auditing::an_effect_is_entered_with_what_was_before_and_after_it,
            auditing::what_had_no_effect_is_not_entered,
            auditing::the_audit_comes_in_pages_newest_first,
            repeating::a_request_with_a_key_is_carried_out_once_and_its_answer_kept,
            repeating::what_had_no_effect_leaves_its_key_unused,
            repeating::an_answer_is_kept_for_a_day,
            reading::slices_come_due_in_order_and_by_pages,
            reading::pages_skip_and_repeat_none_of_the_slices_that_are_due_at_once,
            reading::slices_come_by_number_whatever_their_times,
            reading::a_slice_that_never_left_waits_as_before,
            reading::an_account_sees_what_is_its_own,
            reading::what_is_open_marked_or_unknown_is_found,
            reading::lists_are_filtered_and_come_in_pages_newest_first,
            reading::filtered_lists_come_in_pages_too,
            reading::parents_are_listed_like_orders,
            reading::parents_are_filtered,
        );
    };
    (@ $place:expr; $($module:ident::$case:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $case() {
                $crate::storage::conformance::$module::$case(&$place).await;
            }
        )+
    };
}

pub(crate) use suite;
