//! S3: any server that speaks it (MinIO, Ceph, AWS), by one client with the settings that all of
//! them take.

use std::{fmt, time::Duration};

use aws_config::default_provider::credentials::DefaultCredentialsChain;
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, future},
};
use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        retry::RetryConfig, timeout::TimeoutConfig,
    },
    error::{ProvideErrorMetadata, SdkError},
    operation::create_bucket::CreateBucketError,
    types::{BucketLocationConstraint, CreateBucketConfiguration},
};
use clap::Args;
use serde_json::json;
use tokio::sync::OnceCell;
use url::Url;

use crate::{
    BoxError,
    config::Secret,
    retry::{Backoff, retry},
};

/// Marks the policy statement that is ours, so that an operator's own policy is never touched.
const PUBLIC_READ_SID: &str = "MarqueePublicRead";
/// How long a service waits at its start for the storage.
const START_PATIENCE: Duration = Duration::from_mins(1);

/// Where the object storage is, and how to sign in.
#[derive(Clone, Debug, Args)]
pub struct S3Config {
    /// URL of the S3 API, as the services reach it.
    #[arg(long, env = "S3_ENDPOINT_URL", default_value = "http://localhost:9000")]
    pub s3_endpoint_url: Url,
    /// Access key. Without both keys the SDK's own chain is asked (environment, profile, web
    /// identity, ECS, EC2), for IAM roles.
    #[arg(long, env = "S3_ACCESS_KEY", requires = "s3_secret_key")]
    pub s3_access_key: Option<String>,
    /// Secret key.
    #[arg(
        long,
        env = "S3_SECRET_KEY",
        hide_env_values = true,
        requires = "s3_access_key"
    )]
    pub s3_secret_key: Option<Secret>,
    /// Region to sign for.
    #[arg(long, env = "S3_REGION", default_value = "us-east-1")]
    pub s3_region: String,
}

/// Who may read a bucket's objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketAccess {
    /// Everybody may GET an object whose name they know; nobody may list.
    PublicRead,
    /// Only signed requests.
    Private,
}

/// A client for the storage at [`S3Config::s3_endpoint_url`]. Does no I/O.
pub fn client(config: &S3Config) -> Client {
    client_at(config, &config.s3_endpoint_url)
}

/// The same for another address of the same storage: presigned URLs are good for the host that
/// they were signed for, which is the public one.
pub fn client_at(config: &S3Config, endpoint: &Url) -> Client {
    let settings = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(endpoint.as_str().trim_end_matches('/'))
        .region(Region::new(config.s3_region.clone()))
        .credentials_provider(credentials(config))
        // Bucket names in the host need DNS that self-hosted storage does not have.
        .force_path_style(true)
        // The SDK's default trailing checksums break streaming puts on servers that do not know
        // them (XAmzContentSHA256Mismatch).
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .retry_config(RetryConfig::standard().with_max_attempts(3))
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(Duration::from_secs(3))
                .read_timeout(Duration::from_secs(15))
                .operation_attempt_timeout(Duration::from_mins(1))
                .operation_timeout(Duration::from_mins(3))
                .build(),
        )
        .build();
    Client::from_conf(settings)
}

fn credentials(config: &S3Config) -> SharedCredentialsProvider {
    match (&config.s3_access_key, &config.s3_secret_key) {
        (Some(access_key), Some(secret_key)) => SharedCredentialsProvider::new(Credentials::new(
            access_key,
            secret_key.expose(),
            None,
            None,
            "S3_ACCESS_KEY",
        )),
        _ => SharedCredentialsProvider::new(DefaultChain {
            region: Region::new(config.s3_region.clone()),
            chain: OnceCell::new(),
        }),
    }
}

/// The SDK's own chain, built at the first request: building it looks at files and the network,
/// and a service with keys of its own needs neither.
struct DefaultChain {
    region: Region,
    chain: OnceCell<DefaultCredentialsChain>,
}

impl ProvideCredentials for DefaultChain {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async move {
            let build = || {
                DefaultCredentialsChain::builder()
                    .region(self.region.clone())
                    .build()
            };
            let chain = self.chain.get_or_init(build).await;
            chain.provide_credentials().await
        })
    }
}

impl fmt::Debug for DefaultChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DefaultChain").finish_non_exhaustive()
    }
}

/// Why a bucket is not as it should be.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} of bucket {bucket}")]
pub struct BucketError {
    bucket: String,
    doing: &'static str,
    /// Whether the storage may only be away for a while.
    transient: bool,
    source: BoxError,
}

/// Make sure that a bucket exists and may be read as `access` says. Waits for the storage for up
/// to a minute; any number of instances may call it at once.
///
/// A policy that an operator has put there is left alone.
pub async fn ensure_bucket(
    client: &Client,
    bucket: &str,
    access: BucketAccess,
) -> Result<(), BucketError> {
    let backoff =
        Backoff::new(Duration::from_millis(200), Duration::from_secs(3)).within(START_PATIENCE);
    let worth_retrying = |error: &BucketError| {
        if error.transient {
            tracing::warn!(error = crate::error_chain(error), "waiting for the storage");
        }
        error.transient
    };
    retry(backoff, worth_retrying, || async {
        create(client, bucket).await?;
        match access {
            BucketAccess::PublicRead => publish(client, bucket).await,
            BucketAccess::Private => unpublish(client, bucket).await,
        }
    })
    .await
}

/// Whether a bucket can be reached, for a readiness check.
pub async fn ping(client: &Client, bucket: &str) -> Result<(), BucketError> {
    match client.head_bucket().bucket(bucket).send().await {
        Ok(_) => Ok(()),
        Err(error) => Err(failed(bucket, "confirm the existence", error)),
    }
}

async fn create(client: &Client, bucket: &str) -> Result<(), BucketError> {
    if client.head_bucket().bucket(bucket).send().await.is_ok() {
        return Ok(());
    }
    // us-east-1 is the one region that must not be named (S3 API, CreateBucket).
    let region = client.config().region().map(Region::as_ref);
    let location = region
        .filter(|region| *region != "us-east-1")
        .map(|region| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(region))
                .build()
        });
    let created = client
        .create_bucket()
        .bucket(bucket)
        .set_create_bucket_configuration(location)
        .send()
        .await;
    match created {
        Ok(_) => Ok(()),
        Err(error) => match error.as_service_error() {
            // Another instance was faster.
            Some(
                CreateBucketError::BucketAlreadyOwnedByYou(_)
                | CreateBucketError::BucketAlreadyExists(_),
            ) => Ok(()),
            _ => Err(failed(bucket, "do the creation", error)),
        },
    }
}

/// Whose the bucket's policy is.
enum Policy {
    None,
    Ours,
    Operators,
}

async fn policy(client: &Client, bucket: &str) -> Result<Policy, BucketError> {
    match client.get_bucket_policy().bucket(bucket).send().await {
        Ok(answer) => Ok(match answer.policy() {
            Some(text) if text.contains(PUBLIC_READ_SID) => Policy::Ours,
            Some(text) if !text.is_empty() => Policy::Operators,
            _ => Policy::None,
        }),
        Err(error) if error.code() == Some("NoSuchBucketPolicy") => Ok(Policy::None),
        Err(error) => Err(failed(bucket, "read the policy", error)),
    }
}

async fn publish(client: &Client, bucket: &str) -> Result<(), BucketError> {
    match policy(client, bucket).await? {
        Policy::Ours => return Ok(()),
        Policy::Operators => {
            tracing::warn!(
                bucket,
                "has a policy that is not ours; it must let everybody read"
            );
            return Ok(());
        }
        Policy::None => {}
    }
    client
        .put_bucket_policy()
        .bucket(bucket)
        .policy(public_read_policy(bucket))
        .send()
        .await
        .map(|_| ())
        .map_err(|error| failed(bucket, "write the policy", error))
}

async fn unpublish(client: &Client, bucket: &str) -> Result<(), BucketError> {
    match policy(client, bucket).await? {
        Policy::None | Policy::Operators => Ok(()),
        Policy::Ours => client
            .delete_bucket_policy()
            .bucket(bucket)
            .send()
            .await
            .map(|_| ())
            .map_err(|error| failed(bucket, "remove the policy", error)),
    }
}

/// Objects may be read by name; `s3:ListBucket` is not granted, so names must be known.
fn public_read_policy(bucket: &str) -> String {
    json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": PUBLIC_READ_SID,
            "Effect": "Allow",
            "Principal": {"AWS": ["*"]},
            "Action": ["s3:GetObject"],
            "Resource": [format!("arn:aws:s3:::{bucket}/*")],
        }],
    })
    .to_string()
}

fn failed<E>(
    bucket: &str,
    doing: &'static str,
    error: SdkError<E, aws_sdk_s3::config::http::HttpResponse>,
) -> BucketError
where
    E: std::error::Error + Send + Sync + 'static,
{
    let transient = match &error {
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_) | SdkError::ResponseError(_) => {
            true
        }
        SdkError::ServiceError(error) => error.raw().status().is_server_error(),
        _ => false,
    };
    BucketError {
        bucket: bucket.to_owned(),
        doing,
        transient,
        source: error.into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use clap::{Parser, error::ErrorKind};

    use super::*;

    #[derive(Debug, Parser)]
    struct TestConfig {
        #[command(flatten)]
        s3: S3Config,
    }

    fn parse(args: &[&str]) -> Result<S3Config, clap::Error> {
        let args = std::iter::once(&"test").chain(args);
        TestConfig::try_parse_from(args).map(|config| config.s3)
    }

    #[test]
    fn both_keys_or_none_are_given() {
        let secret = format!("--s3-secret-key={}", "s".repeat(40));
        assert!(parse(&[]).unwrap().s3_secret_key.is_none());
        assert!(parse(&["--s3-access-key=marquee", &secret]).is_ok());
        for half in ["--s3-access-key=marquee", &secret] {
            let error = parse(&[half]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::MissingRequiredArgument);
        }
    }

    #[test]
    fn the_published_example_is_no_secret() {
        let error = parse(&["--s3-access-key=minioadmin", "--s3-secret-key=minioadmin"]);
        assert_eq!(error.unwrap_err().kind(), ErrorKind::ValueValidation);
    }

    #[test]
    fn a_public_bucket_grants_reading_objects_and_nothing_else() {
        let policy: serde_json::Value =
            serde_json::from_str(&public_read_policy("live-segments")).unwrap();
        let statement = &policy["Statement"][0];
        assert_eq!(statement["Action"], json!(["s3:GetObject"]));
        assert_eq!(
            statement["Resource"],
            json!(["arn:aws:s3:::live-segments/*"])
        );
    }
}
