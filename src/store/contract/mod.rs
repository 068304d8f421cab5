//! The contract of every store, written once and mounted for each adapter with `mount!(fresh)`, where `fresh()` returns an
//! empty store and whatever must outlive it. An adapter of some ports alone mounts their parts: `mount!(fresh: counters)`. A
//! case that is not listed in `mount!` is dead code, and a warning says so.

pub(super) mod adopt;
pub(super) mod blocks;
pub(super) mod counters;
pub(super) mod factors;
pub(super) mod kept;
pub(super) mod once;
pub(super) mod outbox;
pub(super) mod passkeys;
pub(super) mod places;
pub(super) mod records;
pub(super) mod refresh;
pub(super) mod sessions;
pub(super) mod stamps;
pub(super) mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{NewRefreshToken, NewSession, Rotate};
use crate::caller::{Assurance, AuthMethod, AuthMethods, Identity, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::secret::Digest;

/// The time at which the tests begin.
pub(super) const T0: Timestamp = Timestamp::from_secs(1_800_000_000);

/// The grace window of the tests.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// The idle timeout of the tests.
pub(super) const IDLE: Duration = Duration::from_secs(3600);

/// The absolute timeout of the tests.
pub(super) const ABSOLUTE: Duration = Duration::from_secs(24 * 3600);

/// Returns the time `millis` after the beginning.
pub(super) fn at(millis: u64) -> Timestamp {
    T0.plus(Duration::from_millis(millis))
}

/// Returns a time long after the beginning, without passing an idle timeout.
pub(super) fn after(by: Duration) -> Timestamp {
    T0.plus(by)
}

pub(super) fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

pub(super) fn identity(user: &str) -> Arc<Identity> {
    Arc::new(Identity {
        key: UserKey::new("django", user),
        name: format!("Ünsal {user}"),
        groups: vec!["editors".to_owned(), "한국어".to_owned()],
        staff: true,
        superuser: false,
        attributes: BTreeMap::from([("mail".to_owned(), format!("{user}@example.org"))]),
    })
}

/// Returns a session `id` of `user` from [`T0`] on, with the cookie `cookie-ID` and the refresh token `ID-0`.
pub(super) fn new_session(id: &str, user: &str) -> NewSession {
    NewSession {
        id: SessionId::new(id),
        identity: identity(user),
        password_mark: digest("mark"),
        cookie: Some(digest(&format!("cookie-{id}"))),
        issuer: None,
        at: T0,
        expires_at: T0.plus(ABSOLUTE),
        idle_timeout: IDLE,
        client: Some("2001:db8::7".parse().unwrap()),
        agent: "Mozilla/5.0".to_owned(),
        assurance: Assurance::now(AuthMethods::only(AuthMethod::Password), T0),
        grant: None,
        refresh: Some(token(&format!("{id}-0"))),
        kept: None,
    }
}

/// Returns a refresh token that outlives the session.
pub(super) fn token(name: &str) -> NewRefreshToken {
    NewRefreshToken { digest: digest(name), expires_at: T0.plus(2 * ABSOLUTE) }
}

/// Returns a rotation from `presented` to `successor`; the sealed answer is the successor's name.
pub(super) fn rotate(session: &str, presented: &str, successor: &str, at: Timestamp) -> Rotate {
    Rotate {
        session: SessionId::new(session),
        presented: digest(presented),
        successor: token(successor),
        sealed_answer: successor.as_bytes().to_vec(),
        grace: GRACE,
        at,
    }
}

macro_rules! mount {
    ($fresh:ident) => {
        $crate::store::contract::mount! { $fresh:
            sessions tokens refresh kept once adopt outbox places stamps blocks factors records passkeys
        }
    };
    ($fresh:ident: $($part:ident)+) => {
        $($crate::store::contract::mount! { @part $fresh $part })+
    };
    (@part $fresh:ident sessions) => {
        $crate::store::contract::mount! { @cases $fresh sessions:
            a_session_is_found_by_id_and_by_cookie_as_it_was_made
            an_unknown_session_is_absent
            a_session_without_cookie_and_token_is_found_by_id
            a_taken_id_cookie_or_token_is_an_error_and_changes_nothing
            the_idle_end_is_exact
            a_use_moves_the_idle_end
            no_use_moves_the_absolute_end
            an_end_is_seen_everywhere_and_told_once
            ending_a_user_ends_exactly_theirs
            ending_the_others_keeps_one
            ending_what_is_not_there_tells_nothing
            the_list_has_live_sessions_newest_first
            upkeep_removes_what_timed_out_and_tells_it_once
            a_removed_session_does_not_come_back
            a_changed_identity_is_seen_and_stays
        }
    };
    (@part $fresh:ident tokens) => {
        $crate::store::contract::mount! { @cases $fresh tokens:
            a_token_is_found_by_its_digest_with_what_it_is_for
            no_more_tokens_than_there_is_room_for
            what_ends_sign_ins_leaves_tokens_and_what_ends_a_user_does_not
        }
    };
    (@part $fresh:ident refresh) => {
        $crate::store::contract::mount! { @cases $fresh refresh:
            a_rotation_spends_the_token_and_remembers_its_successor
            looking_spends_nothing
            within_its_window_a_spent_token_gets_the_same_answer
            without_a_window_the_second_use_is_reuse
            reuse_after_the_window_ends_the_session_once
            an_older_token_within_its_own_window_is_replayed
            an_older_token_after_its_window_is_reuse_though_its_successor_is_fresh
            an_expired_token_is_expired_spent_or_not
            a_token_of_another_session_is_unknown
            a_token_of_a_session_that_is_over_is_unknown
            a_taken_successor_is_an_error_and_spends_nothing
            of_fifty_parallel_rotations_one_wins_and_all_get_its_answer
            a_rotation_that_races_an_end_leaves_no_live_successor
            upkeep_keeps_what_reuse_is_noticed_by
            upkeep_forgets_expired_tokens
        }
    };
    (@part $fresh:ident kept) => {
        $crate::store::contract::mount! { @cases $fresh kept:
            what_is_kept_is_in_the_record_from_the_beginning
            the_last_that_was_kept_is_there
            nothing_is_kept_for_a_session_that_has_ended
        }
    };
    (@part $fresh:ident once) => {
        $crate::store::contract::mount! { @cases $fresh once:
            a_marked_session_begins_once
            who_sees_the_mark_finds_the_session
            whatever_ended_it_a_marked_session_does_not_begin_again
            a_mark_without_a_session_lets_none_begin
            of_fifty_parallel_beginnings_one_is_the_session_of_all
            what_could_not_begin_leaves_no_mark
            a_session_may_begin_once_its_mark_is_forgotten
        }
    };
    (@part $fresh:ident adopt) => {
        $crate::store::contract::mount! { @cases $fresh adopt:
            a_credential_is_adopted_once_while_its_session_lives
            the_end_of_an_adopted_session_is_that_of_its_credential
            time_that_runs_out_denies_nothing
            only_an_adopted_session_denies_its_cookie
            a_renewed_session_goes_on_under_another_credential
            a_session_that_has_ended_is_not_renewed
            what_a_user_proved_since_is_in_the_record_and_stays
            of_fifty_parallel_adoptions_one_begins
            upkeep_leaves_a_renewed_session
        }
    };
    (@part $fresh:ident outbox) => {
        $crate::store::contract::mount! { @cases $fresh outbox:
            a_message_is_claimed_as_it_was_put_in
            a_claimed_message_is_nobody_elses_for_its_time
            messages_are_claimed_oldest_first
            a_message_that_failed_is_due_again_when_it_was_said
            a_message_that_is_done_waits_no_longer
            one_incident_is_one_message
            a_message_that_is_done_keeps_quiet_for_its_cool_down
            past_its_bound_a_channel_loses_its_oldest
            of_parallel_claims_each_message_goes_to_one
            a_question_is_looked_at_often_and_answered_once
            an_answer_answers_all_that_is_about_the_same
            a_question_expires
        }
    };
    (@part $fresh:ident places) => {
        $crate::store::contract::mount! { @cases $fresh places:
            places_are_forgotten_and_sessions_live
        }
    };
    (@part $fresh:ident stamps) => {
        $crate::store::contract::mount! { @cases $fresh stamps:
            a_key_without_a_stamp_has_none
            the_first_stamp_stays
            the_latest_stamp_counts
            upkeep_forgets_a_stamp_that_need_not_be_kept
        }
    };
    (@part $fresh:ident blocks) => {
        $crate::store::contract::mount! { @cases $fresh blocks:
            a_block_holds_until_its_end
            a_network_holds_all_its_addresses
            users_and_sessions_are_blocked_by_name
            a_lifted_block_is_gone_at_once
            of_two_blocks_the_stronger_stands
            however_many_are_added_the_list_stays_bounded
            upkeep_forgets_blocks_that_are_over
        }
    };
    (@part $fresh:ident factors) => {
        $crate::store::contract::mount! { @cases $fresh factors:
            a_factor_is_kept_as_it_was_set_up
            one_secret_is_one_factor_and_there_is_a_most
            a_step_is_used_once_and_none_before_it_again
            of_parallel_uses_one_succeeds
            a_recovery_code_is_used_once_by_its_user
            a_code_that_is_used_elsewhere_takes_the_count_away
            with_the_last_factor_the_recovery_codes_go
            a_reset_takes_all_away_until_one_is_set_up
            attempts_are_slowed_until_one_is_right
            of_parallel_attempts_no_more_pass_than_may
        }
    };
    (@part $fresh:ident records) => {
        $crate::store::contract::mount! { @cases $fresh records:
            what_happened_is_told_newest_first_and_in_pages
            what_happens_again_within_its_time_is_one_entry
            what_others_cause_pushes_out_nothing_else
            a_device_is_one_however_often_it_is_used
            what_is_shown_is_forgotten_when_its_time_is_over
        }
    };
    (@part $fresh:ident passkeys) => {
        $crate::store::contract::mount! { @cases $fresh passkeys:
            a_passkey_is_kept_and_found_by_its_id
            a_counter_goes_on_and_a_challenge_is_answered_once
            of_parallel_answers_one_succeeds
            a_challenge_is_spent_once_and_forgotten_after_its_time
            passkeys_of_another_rp_id_are_counted
        }
    };
    (@part $fresh:ident counters) => {
        $crate::store::contract::mount! { @cases $fresh counters:
            what_is_left_is_kept_until_its_time
            scopes_are_counted_apart
            what_is_only_looked_at_stays_as_it_was
            of_parallel_changes_each_sees_those_before
            several_keys_change_in_one_step
            what_was_not_changed_for_longest_gives_way
            what_is_just_being_changed_stays_however_large
            however_many_keys_are_invented_a_scope_stays_within_its_bound
        }
    };
    (@cases $fresh:ident $module:ident: $($case:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $case() {
                    let (store, _outlives) = super::$fresh();
                    $crate::store::contract::$module::$case(&store).await;
                }
            )*
        }
    };
}
pub(super) use mount;
