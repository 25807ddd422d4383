//! HTTP checks of the demo server, the same for every framework it is written in.
//!
//! They know the program only by its contract: environment variables, a ready line, endpoints, seeded clients and
//! users. Each check starts a server of its own, so none sees what another has left behind.

pub(crate) mod assertion;
pub(crate) mod attempts;
pub(crate) mod client;
pub(crate) mod contract;
pub(crate) mod documents;
mod http;
pub(crate) mod resource;
pub(crate) mod scope;
mod server;
pub(crate) mod session;
pub(crate) mod starting;
pub(crate) mod token;
pub(crate) mod user;
pub(crate) mod wire;

pub(crate) use server::Program;

use http::Request;
use serde_json::Value;
use server::Server;

/// The demo's audience: the resource server that its tokens are for.
const AUDIENCE: &str = "https://api.example.com";

const ALICE: &str = "grant_type=password&username=alice&password=wonderland";

/// Her password is `pässwörd +&=%`.
const ZOE: &str = "grant_type=password&username=zo%c3%ab&password=p%c3%a4ssw%c3%b6rd+%2b%26%3d%25";

/// Alice, by the client `web`: a request in which all is right.
fn alice() -> Request {
    Request::token(ALICE).basic("web", "web-secret")
}

/// An access token of Alice's with this scope.
fn token_with(scope: &str, server: &Server) -> String {
    let answer = server.send(&alice().body(format!("{ALICE}&scope={}", http::encode(scope))));
    assert_eq!(answer.status, 200, "{answer:?}");
    text(&answer.json()["access_token"])
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

/// Makes a test of every check, against the program that the function `$program` finds.
macro_rules! test_every_check {
    ($program:path) => {
        test_every_check! { $program =>
            contract {
                the_same_requests_get_the_same_bytes_from_every_host
                http_2_in_cleartext_gets_the_same_answers
            }
            starting {
                the_ready_line_names_the_real_port_and_a_warning_follows
                a_request_in_flight_is_finished_before_the_server_stops
                idle_connections_do_not_hold_up_the_end
                a_setting_that_cannot_be_used_ends_the_program_with_one_line_that_names_it
                an_address_that_is_taken_ends_the_program
                all_interfaces_are_bound_only_with_an_issuer
                a_database_file_is_used_again_at_the_next_start
            }
            token {
                basic_credentials_with_a_tenant_and_a_charset_get_a_token
                the_tenant_header_may_be_absent
                a_public_client_names_itself_in_the_body
                the_token_is_a_signed_jwt_with_the_claims_of_rfc_9068
                every_token_has_an_identifier_of_its_own
                fifty_logins_of_one_user_at_once_all_succeed
                no_secret_reaches_the_log
                curl_gets_a_token
            }
            client {
                every_client_gets_a_token_by_each_method_it_is_registered_for
                every_failed_client_authentication_is_answered_with_the_same_bytes
                an_unreadable_basic_header_is_answered_as_a_wrong_secret_is
                a_client_without_the_grant_is_refused_after_it_has_authenticated
                nothing_is_said_about_the_request_before_the_client_is_known
            }
            assertion {
                an_assertion_stands_in_for_the_header
                a_client_may_name_itself_beside_its_assertion
                an_assertion_brings_no_more_than_its_client_may_have
                an_assertion_is_good_for_one_request
                of_fifty_identical_assertions_at_once_one_is_taken
                the_audience_is_the_issuer_or_the_token_endpoint
                the_short_type_and_a_header_beside_are_refused
                every_assertion_that_is_not_right_is_answered_with_the_same_bytes
                no_assertion_reaches_the_log
            }
            user {
                every_user_logs_in_whatever_characters_name_and_password_have
                every_failed_login_is_answered_with_the_same_bytes
                names_and_passwords_are_compared_as_they_are
            }
            attempts {
                after_the_burst_every_name_waits_alike
                after_the_wait_the_right_password_gets_in
                a_thousand_guesses_at_once_verify_only_the_burst
                guessing_from_elsewhere_does_not_keep_the_owner_waiting_at_home
                spellings_of_a_name_are_counted_as_one
            }
            wire {
                only_post_is_allowed
                the_content_type_is_a_form_in_utf_8
                a_body_is_read_up_to_64_kib
                too_large_a_body_is_refused_before_it_has_all_come
                a_body_that_is_announced_as_too_large_is_refused_at_once
                a_malformed_body_is_refused_before_anybody_is_looked_up
                credentials_in_the_query_are_refused_unread
                a_repeated_header_is_refused
                contradictory_client_authentication_is_refused
                an_incomplete_request_of_a_known_client_is_told_what_is_missing
                what_is_harmless_is_accepted
            }
            session {
                each_refresh_yields_another_refresh_token
                there_is_no_refresh_token_without_offline_access
                a_used_refresh_token_is_a_retry_within_the_window_and_theft_after_it
                of_many_refreshes_at_once_there_is_one_lineage
                every_refresh_token_that_is_not_valid_is_answered_with_the_same_bytes
                an_odd_token_is_unknown_at_every_endpoint
                a_revoked_token_is_refused_everywhere
                introspection_tells_a_resource_server_and_nobody_else
            }
            scope {
                the_answer_and_the_token_hold_the_scope_that_was_granted
                the_audience_that_a_token_has_anyway_may_be_asked_for
                a_scope_that_is_not_registered_is_refused_before_the_password_is_tried
                a_malformed_scope_is_refused
            }
            resource {
                a_valid_token_opens_the_protected_resources
                without_a_bearer_token_the_challenge_holds_no_error
                a_malformed_request_is_answered_400
                a_token_that_is_not_valid_is_answered_401
                a_token_that_claims_something_else_is_answered_401
                too_little_scope_is_answered_403_with_the_scope_that_is_needed
            }
            documents {
                the_metadata_says_what_the_server_can_do_and_nothing_else
                the_key_set_holds_public_keys_only
                the_page_is_one_file_under_a_strict_policy
                the_issuer_is_the_configured_one_wherever_it_shows
                no_document_believes_the_host_header
            }
        }
    };
    ($program:path => $($group:ident { $($check:ident)+ })+) => {
        $(mod $group {
            $(#[test]
            fn $check() {
                crate::checks::$group::$check(&$program());
            })+
        })+
    };
}
