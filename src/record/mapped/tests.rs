//! The shipped tables, and tables as people write them, rightly and wrongly.
