//! The bucket: values and tables in object storage, and the S3-compatible server of bue bucket.
