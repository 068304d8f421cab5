//! Events about mailed sign-in links.

/// What happened to a mailed sign-in link.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MailedLinkEvent {
    /// A link was requested; whether there is a user to mail it to is checked afterwards.
    Asked,
    /// A link was requested and is not mailed: the account does not hold back unknown browsers, or its limit of links is
    /// reached.
    Withheld,
    /// The link was opened in the browser that requested it, which may try passwords from now on.
    Opened,
    /// The link was opened in another browser, where it has no effect.
    OtherBrowser,
    /// The link was opened too late: meanwhile the account got another password, was reported as compromised, or was reset.
    Void,
}

impl MailedLinkEvent {
    /// All events.
    pub const ALL: &'static [Self] =
        &[Self::Asked, Self::Withheld, Self::Opened, Self::OtherBrowser, Self::Void];

    /// Returns the stable name for metrics and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Withheld => "withheld",
            Self::Opened => "opened",
            Self::OtherBrowser => "other_browser",
            Self::Void => "void",
        }
    }
}
