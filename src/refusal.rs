//! Defines the closed list of reasons to refuse a request.
//!
//! Each reason has one stable [`code`](Refusal::code), used in the JSON body, the metric label, the log field and
//! `docs/refusals.md`; one [`reason`](Refusal::reason) for metric, log and audit trail, which clients never see; one
//! [`status`](Refusal::status); and one public text, [`detail`](Refusal::detail). The texts of sign-in, refresh and verify are
//! SimpleJWT's, so that front ends keep working. A refusal never contains what only the operator may know (why a store failed,
//! say). SimpleJWT's front ends expect `token_not_valid`, whatever is wrong with a token, so several reasons share that code;
//! they never differ in status.
//!
//! A new reason is one line in the table below; the compiler, the golden file and the documentation test point out the rest.

use http::StatusCode;

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $name:ident $code:literal $(/ $reason:literal)? $status:ident $detail:literal;)+) => {
        /// Why a request did not pass.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Refusal {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Refusal {
            /// All reasons, for metrics that start at 0 and for the documentation test.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Returns the stable code.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// Returns the reason for the operator: reasons that share a code each have a name of their own.
            pub const fn reason(self) -> &'static str {
                match self {
                    $(Self::$name => {
                        let [first, ..] = [$($reason,)? $code];
                        first
                    })+
                }
            }

            /// Returns the status that the client gets.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// Returns the text that the client gets.
            pub const fn detail(self) -> &'static str {
                match self { $(Self::$name => $detail,)+ }
            }
        }
    };
}

refusals! {
    // --- the request itself
    /// The head breaks a framing rule of RFC 9112: both lengths, a repeated length, a transfer coding other than `chunked`.
    BadFraming "bad_framing" BAD_REQUEST "The request's framing is ambiguous.";
    /// A header that may occur once occurs twice, or has an impossible value.
    BadHeader "bad_header" BAD_REQUEST "A request header is malformed or repeated.";
    /// `Connection` nominates a header of identity, forwarding or credentials (RFC 9110 section 7.6.1).
    BadConnection "bad_connection_header" BAD_REQUEST "The Connection header names a protected header.";
    /// The target can be read in two ways, or is not a path at all.
    BadTarget "bad_target" BAD_REQUEST "The request target is ambiguous or malformed.";
    /// There is no usable `Host`.
    BadHost "bad_host" BAD_REQUEST "The Host header is missing or malformed.";
    /// The session cookie occurs with two values, or the Cookie header breaks a limit.
    BadCookie "bad_cookie" BAD_REQUEST "The Cookie header is malformed.";
    /// Two credentials name two different users.
    ConflictingCredentials "conflicting_credentials" BAD_REQUEST "The request carries credentials of two users.";
    /// The request head is larger than the limit.
    HeadTooLarge "head_too_large" REQUEST_HEADER_FIELDS_TOO_LARGE "The request's header section is too large.";
    /// The target is longer than the limit.
    TargetTooLong "target_too_long" URI_TOO_LONG "The request target is too long.";
    /// The body is larger than this path accepts.
    BodyTooLarge "body_too_large" PAYLOAD_TOO_LARGE "The request body is too large.";
    /// The body did not arrive in time.
    BodyTimeout "body_timeout" REQUEST_TIMEOUT "The request body did not arrive in time.";
    /// The upstream needs a length, and the chunked body is longer than the buffer.
    LengthRequired "length_required" LENGTH_REQUIRED "This service needs a Content-Length.";
    /// The body does not match its content type, or a member has the wrong type.
    BadBody "bad_body" BAD_REQUEST "The request body is malformed.";
    /// The content type is missing, or neither JSON nor a form.
    UnsupportedMediaType "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE "Unsupported media type in request.";
    /// The expectation is not `100-continue`.
    BadExpectation "bad_expectation" EXPECTATION_FAILED "Only 100-continue can be expected.";

    // --- routing
    /// No route matches this host and path.
    NoRoute "no_route" NOT_FOUND "Not found.";
    /// The named object does not exist or is not the caller's; the answer does not say which.
    NotOnAccount "not_on_account" NOT_FOUND "There is no such thing on your account.";
    /// The route or own path does not accept this method.
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED "Method not allowed.";

    /// The new password is not allowed: `why` says which rule it breaks.
    PasswordNotAllowed "password_not_allowed" BAD_REQUEST "This password cannot be used.";

    // --- who is calling
    /// The route requires a signed-in caller, and nobody is signed in.
    NotAuthenticated "not_authenticated" UNAUTHORIZED "Authentication credentials were not provided.";
    /// `Authorization` does not consist of `Bearer` and one token.
    BadAuthorization "bad_authorization_header" UNAUTHORIZED "Authorization header must contain two space-delimited values";
    /// A token does not verify: signature, key, algorithm, claims, form.
    TokenNotValid "token_not_valid" UNAUTHORIZED "Token is invalid";
    /// A token's `exp` has passed.
    TokenExpired "token_not_valid" / "token_expired" UNAUTHORIZED "Token is expired";
    /// A token in a table of its service (REST framework's, knox's) is unknown or expired, or its user may not sign in.
    OpaqueTokenNotValid "token_not_valid" / "opaque_token_not_valid" UNAUTHORIZED "Invalid token.";
    /// A token of another kind was presented (a refresh token as Bearer, say).
    TokenWrongType "token_not_valid" / "token_wrong_type" UNAUTHORIZED "Token has wrong type";
    /// The session that the credential belongs to has ended.
    SessionEnded "session_ended" UNAUTHORIZED "The session has ended.";
    /// A refresh token was used again outside the grace window, which ended its session; or its session has ended.
    TokenBlacklisted "token_not_valid" / "token_blacklisted" UNAUTHORIZED "Token is blacklisted";

    // --- the same, worded as by a service that reads hand-made tokens (`issuer.refusals = "jwt"`)
    /// A hand-made token names no user, or has an impossible value.
    JwtInvalid "jwt_invalid" FORBIDDEN "Invalid Token";
    /// A hand-made token has expired.
    JwtExpired "jwt_expired" FORBIDDEN "Token has expired";
    /// A hand-made token was revoked, or its session has ended. Such services know neither, so it counts as expired.
    JwtEnded "jwt_ended" FORBIDDEN "Token has expired";
    /// A hand-made token does not have the form of a token, or the service's key did not sign it.
    JwtUndecodable "jwt_undecodable" FORBIDDEN "Error decoding token";
    /// The user of a hand-made token does not exist, or is disabled.
    JwtUserNotFound "jwt_user_not_found" FORBIDDEN "User not found";

    /// The session is used outside of what it is bound to.
    OutsideBinding "outside_binding" UNAUTHORIZED "The session was begun elsewhere. Sign in from here.";

    // --- blocked for a time
    /// The client's address or its network is blocked.
    AddressBlocked "address_blocked" TOO_MANY_REQUESTS "Your address is blocked for now. Try again later.";
    /// The user is blocked.
    UserBlocked "user_blocked" FORBIDDEN "This account is blocked for now.";
    /// The session is blocked.
    SessionBlocked "session_blocked" FORBIDDEN "This session is blocked for now.";
    /// The caller made more requests on this route than `[[route.rate_limit]]` allows.
    RateLimited "rate_limited" TOO_MANY_REQUESTS "Too many requests. Try again later.";
    /// The session or the address was slowed down, and makes requests too often.
    SlowDown "slow_down" TOO_MANY_REQUESTS "Too many requests of this kind. Try again in a minute.";
    /// The session proves nothing until its user has signed in again.
    SignInAgain "sign_in_again" UNAUTHORIZED "Sign in again to go on.";

    // --- authorization
    /// The route requires a group that the caller is not in.
    GroupRequired "group_required" FORBIDDEN "You do not have permission to perform this action.";
    /// The service's login page and a page that the signed-in caller may not open redirect the caller to each other.
    AccountNotAllowed "account_not_allowed" FORBIDDEN "Your account may not open this page.";
    /// The route's service knows its users by the ids of a directory other than the caller's.
    OtherDirectory "other_directory" FORBIDDEN "This service does not know your account.";
    /// The caller came with a session of the service, and the route's forms would make another credential from it.
    MintNotAllowed "mint_not_allowed" FORBIDDEN "Your session does not suffice for this service.";
    /// The route's service gets users' names in a header, which cannot carry this name.
    IdentityNotCarried "identity_not_carried" FORBIDDEN "This service cannot be told your user name.";
    /// An unsafe request that the cookie authenticates came from another site.
    CrossSite "cross_site" FORBIDDEN "The request came from another site.";

    /// The personal access token is valid, but this route or path takes no such tokens.
    PersonalTokenNotTaken "insufficient_scope" / "personal_token_not_taken" FORBIDDEN "A personal access token cannot be used here.";
    /// The personal access token is valid, but was made for other routes or methods.
    PersonalTokenScope "insufficient_scope" / "personal_token_scope" FORBIDDEN "This personal access token was not made for this.";
    /// The user has as many personal access tokens as are allowed.
    TooManyTokens "too_many_tokens" CONFLICT "There are too many personal access tokens already. Revoke one first.";

    // --- signing in
    /// The user is unknown or inactive, or the password is wrong or unusable: one answer for all.
    BadCredentials "no_active_account" UNAUTHORIZED "No active account found with the given credentials";
    /// The password was right, but the service asks this user for a second factor, which the gateway does not.
    SecondFactorElsewhere "second_factor_elsewhere" FORBIDDEN "This account has a second factor. Sign in on the service's own sign-in page.";
    /// The password was right, but a code of the user's second factor is missing.
    SecondFactorRequired "second_factor_required" UNAUTHORIZED "A second factor is required.";
    /// The password was right, but the user has to set up a second factor.
    EnrolmentRequired "enrolment_required" UNAUTHORIZED "A second factor has to be set up first.";
    /// Setting up the first factor requires a known device or an operator's code in addition to the password.
    EnrolmentProofRequired "enrolment_proof_required" FORBIDDEN "Setting up a second factor here takes a code from whoever runs this service.";
    /// The code of a second factor is wrong, or was used before.
    BadCode "bad_code" UNAUTHORIZED "The code is not right, or it was used already.";
    /// The authenticator's response does not prove that one of the user's passkeys was used here.
    BadPasskey "bad_passkey" UNAUTHORIZED "The passkey was not accepted.";
    /// The ticket of a sign-in has expired, was used, or belongs to another client.
    TicketNotValid "ticket_not_valid" UNAUTHORIZED "The sign-in took too long, or was begun elsewhere. Sign in again.";
    /// A mailed link is unknown, expired or used, or its account has changed since.
    LinkNotValid "link_not_valid" GONE "The link does not work any more.";
    /// A mailed link was opened in a browser other than the one that requested it.
    LinkOfOtherBrowser "link_of_other_browser" FORBIDDEN "The link works in the browser that asked for it.";
    /// The caller's authentication is not strong enough here, or too long ago.
    InsufficientAuthentication "insufficient_user_authentication" UNAUTHORIZED "Confirm that it is you to go on.";
    /// The user of a refresh token may not sign in any more, or no longer exists.
    NoActiveAccount "no_active_account" / "user_gone" UNAUTHORIZED "No active account found for the given token.";
    /// There were too many failed sign-ins for this account or address.
    TooManyAttempts "too_many_attempts" TOO_MANY_REQUESTS "Too many failed attempts. Try again later.";
    /// The hashing pool's queue is full.
    Busy "busy" SERVICE_UNAVAILABLE "The server is busy. Try again shortly.";

    // --- dependencies
    /// The store is not available.
    StoreUnavailable "store_unavailable" SERVICE_UNAVAILABLE "Sessions are temporarily unavailable.";
    /// The directory is not available.
    DirectoryUnavailable "directory_unavailable" SERVICE_UNAVAILABLE "Signing in is temporarily unavailable.";
    /// The identity form for the route's service cannot be made.
    IdentityUnavailable "identity_unavailable" SERVICE_UNAVAILABLE "Your sign-in cannot be passed on at the moment.";
    /// The service discards each session that a form makes for this user.
    SessionNotKept "session_not_kept" SERVICE_UNAVAILABLE "The service behind this gateway ended your session each time it began.";
    /// The upstream cannot be reached, or closed the connection.
    UpstreamUnavailable "upstream_unavailable" BAD_GATEWAY "The service behind this gateway cannot be reached.";
    /// Every server of the upstream has as many requests as allowed, and so has the queue.
    UpstreamBusy "upstream_busy" SERVICE_UNAVAILABLE "The service behind this gateway is busy. Try again shortly.";
    /// The route is down for maintenance.
    Maintenance "maintenance" SERVICE_UNAVAILABLE "This service is down for maintenance. Try again later.";
    /// The service speaks HTTP/2 only, whose answers cannot be passed to a client of HTTP/1.0.
    HttpVersion "http_version" HTTP_VERSION_NOT_SUPPORTED "This service needs HTTP/1.1 or later.";
    /// The upstream did not answer in time.
    UpstreamTimeout "upstream_timeout" GATEWAY_TIMEOUT "The service behind this gateway did not answer in time.";
    /// The gateway itself failed.
    Internal "internal" INTERNAL_SERVER_ERROR "The gateway failed to handle the request.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_snake_case_and_has_one_status() {
        let mut status = std::collections::HashMap::new();
        for refusal in Refusal::ALL {
            let code = refusal.code();
            assert!(code.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{code}");
            assert_eq!(*status.entry(code).or_insert(refusal.status()), refusal.status(), "{code}");
        }
    }

    #[test]
    fn every_reason_is_one_word_of_its_own() {
        let all: std::collections::HashSet<_> =
            Refusal::ALL.iter().map(|refusal| refusal.reason()).collect();
        assert_eq!(all.len(), Refusal::ALL.len());
        let of = |refusal: Refusal| (refusal.code(), refusal.reason());
        assert_eq!(of(Refusal::TokenExpired), ("token_not_valid", "token_expired"));
        assert_eq!(of(Refusal::TokenNotValid), ("token_not_valid", "token_not_valid"));
    }

    #[test]
    fn every_status_is_an_error() {
        assert!(Refusal::ALL.iter().all(|refusal| refusal.status().as_u16() >= 400));
    }
}
