//! The services behind the gateway, and where each is.

use std::{collections::HashMap, fmt, str::FromStr, sync::Arc};

use url::Url;

use crate::route_table::ServiceName;

/// `http://host:port` of a service. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamUrl {
    address: Arc<str>,
}

/// What is wrong with a service's URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamUrlError {
    /// Not a URL at all.
    #[error("must be a URL like http://localhost:8081")]
    NotAUrl,
    /// Services speak HTTP among themselves.
    #[error("must begin with http://; encryption between services is the network's job")]
    NotHttp,
    /// A path, query or user would be dropped silently.
    #[error("must end after the port, like http://localhost:8081")]
    TooMuch,
}

impl FromStr for UpstreamUrl {
    type Err = UpstreamUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| UpstreamUrlError::NotAUrl)?;
        if url.scheme() != "http" {
            return Err(UpstreamUrlError::NotHttp);
        }
        let bare = url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if !bare {
            return Err(UpstreamUrlError::TooMuch);
        }
        let host = url.host_str().ok_or(UpstreamUrlError::NotAUrl)?;
        let port = url
            .port_or_known_default()
            .ok_or(UpstreamUrlError::NotAUrl)?;
        Ok(Self {
            address: format!("{host}:{port}").into(),
        })
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.address)
    }
}

impl UpstreamUrl {
    /// `host:port`, an IPv6 host in brackets.
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// Where each service is, as far as this installation runs it.
#[derive(Clone, Debug, Default)]
pub struct Upstreams(HashMap<ServiceName, UpstreamUrl>);

impl Upstreams {
    /// Where a service is; `None` if this installation does not run it.
    pub fn find(&self, service: ServiceName) -> Option<&UpstreamUrl> {
        self.0.get(&service)
    }

    /// All that are run, in the order of [`ServiceName::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (ServiceName, &UpstreamUrl)> {
        ServiceName::ALL
            .into_iter()
            .filter_map(|service| Some((service, self.find(service)?)))
    }
}

impl FromIterator<(ServiceName, UpstreamUrl)> for Upstreams {
    fn from_iter<I: IntoIterator<Item = (ServiceName, UpstreamUrl)>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::{UpstreamUrl, UpstreamUrlError};

    #[test]
    fn a_url_names_an_address() {
        let address = |text: &str| text.parse::<UpstreamUrl>().unwrap().address().to_owned();
        assert_eq!(address("http://[::1]:8082/"), "[::1]:8082");
        assert_eq!(address("http://stream:8082"), "stream:8082");
        assert_eq!(address("http://stream"), "stream:80");
    }

    #[test]
    fn what_could_not_be_kept_is_refused() {
        let parse = |text: &str| text.parse::<UpstreamUrl>();
        assert_eq!(parse("localhost"), Err(UpstreamUrlError::NotAUrl));
        assert_eq!(parse("https://auth:8081"), Err(UpstreamUrlError::NotHttp));
        assert_eq!(
            parse("http://auth:8081/base"),
            Err(UpstreamUrlError::TooMuch)
        );
        assert_eq!(
            parse("http://u:p@auth:8081"),
            Err(UpstreamUrlError::TooMuch)
        );
    }
}
