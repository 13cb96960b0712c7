//! An answer to work that is accepted and not yet finished: REST tells it with status 202, gRPC in the answer alone.

use tonic::Response;

/// The mark of such an answer. It stays in the process: extensions are no metadata.
#[derive(Clone, Copy)]
pub struct Accepted;

/// Marks an answer.
pub fn accepted<T>(mut answer: Response<T>) -> Response<T> {
    answer.extensions_mut().insert(Accepted);
    answer
}
