//! The next start: who crashes the server again and again, who is only interrupted, and how many runs it takes up.
