//! Owns the clouds that Microsoft runs apart from each other: where one logs in, and what a token is for
//! (learn.microsoft.com/graph/deployments).

use url::Url;

use crate::channels::web;

/// `[azure] cloud`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cloud {
    /// Everybody's.
    #[default]
    Public,
    /// US Government, GCC High. (GCC is in the public one; the one of the Department of Defense has a Graph of its own: `graph_url`.)
    UsGov,
    /// Operated by 21Vianet.
    China,
}

/// `[azure]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Azure {
    /// Which of them.
    pub cloud: Cloud,
    /// Where one logs in, if elsewhere.
    pub login_url: Option<Url>,
    /// Microsoft Graph, if elsewhere.
    pub graph_url: Option<Url>,
    /// How both are reached.
    pub web: web::Settings,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// SMTP AUTH of Exchange Online.
    Smtp,
    /// Microsoft Graph.
    Graph,
}

impl Azure {
    /// The login server, without a path.
    pub(super) fn login(&self) -> Result<Url, url::ParseError> {
        let known = match self.cloud {
            Cloud::Public => "https://login.microsoftonline.com",
            Cloud::UsGov => "https://login.microsoftonline.us",
            Cloud::China => "https://login.chinacloudapi.cn",
        };
        self.login_url.clone().map_or_else(|| Url::parse(known), Ok)
    }

    /// Microsoft Graph, without a path.
    pub(in crate::channels) fn graph(&self) -> Result<Url, url::ParseError> {
        let known = match self.cloud {
            Cloud::Public => "https://graph.microsoft.com",
            Cloud::UsGov => "https://graph.microsoft.us",
            Cloud::China => "https://microsoftgraph.chinacloudapi.cn",
        };
        self.graph_url.clone().map_or_else(|| Url::parse(known), Ok)
    }

    /// What a token for `service` names as its audience, without a trailing slash.
    pub(super) fn resource(&self, service: Service) -> Result<String, url::ParseError> {
        let mail = match self.cloud {
            Cloud::Public => "https://outlook.office365.com",
            Cloud::UsGov => "https://outlook.office365.us",
            Cloud::China => "https://partner.outlook.cn",
        };
        match service {
            Service::Smtp => Ok(mail.into()),
            Service::Graph => Ok(self.graph()?.origin().ascii_serialization()),
        }
    }
}
