//! Our errors as gRPC statuses: the detail for the caller, the reason as `google.rpc.ErrorInfo`, the cause for the log.

use std::error::Error as _;

use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt};

use crate::error::{Error, Reason};

/// The domain of our reasons in `google.rpc.ErrorInfo`.
const DOMAIN: &str = "synapse";

/// Turns an error into the status that both protocols tell, and logs its cause: this is the one place that does.
#[expect(clippy::needless_pass_by_value, reason = "an error is told once")]
pub fn refuse(error: Error) -> Status {
    let reason = error.reason();
    if error.source().is_some() {
        tracing::error!(reason = reason.name(), cause = error.chain(), "{error}");
    }
    let details = ErrorDetails::with_error_info(reason.name(), DOMAIN, [("may_retry".to_owned(), reason.may_retry().to_string())]);
    Status::with_error_details(reason.grpc(), error.detail(), details)
}

/// Returns the reason that a status carries.
pub fn reason(status: &Status) -> Option<Reason> {
    Reason::named(&status.get_details_error_info()?.reason)
}
