//! What happened about links that are mailed to let somebody in.

/// What became of a mailed link.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MailedLinkEvent {
    /// Somebody asked for one, and it is looked whether there is somebody to mail it to.
    Asked,
    /// Somebody asked for one and none is mailed: strangers do not wait at this account, or it has had as many as it may.
    Withheld,
    /// It was opened in the browser that had asked, which may try passwords from now on.
    Opened,
    /// It was opened in another browser, where it does nothing.
    OtherBrowser,
    /// It was opened too late: the account has another password by then, was told to be in other hands, or was reset.
    Void,
}

impl MailedLinkEvent {
    /// Every one.
    pub const ALL: &'static [Self] =
        &[Self::Asked, Self::Withheld, Self::Opened, Self::OtherBrowser, Self::Void];

    /// Stable name for metrics and the audit trail.
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
