//! One suite of behaviours for every kind of bucket.

mod behaviours;
mod fixture;

/// One test for each behaviour, on the bucket that `$open` gives.
macro_rules! conformance {
    ($kind:ident, $open:path, [$($behaviour:ident),* $(,)?]) => {
        mod $kind {
            $(
                #[tokio::test(flavor = "multi_thread")]
                async fn $behaviour() {
                    let fixture = $open().await;
                    super::behaviours::$behaviour(&fixture).await;
                }
            )*
        }
    };
}

/// The same list for all.
macro_rules! all_behaviours {
    ($kind:ident, $open:path) => {
        conformance!(
            $kind,
            $open,
            [
                a_bucket_that_is_there_passes_its_check,
                what_is_put_is_got_back,
                a_second_put_replaces_the_first,
                an_object_that_is_not_there_is_not_found,
                an_object_over_the_limit_is_not_read,
                of_sixteen_creators_exactly_one_wins,
                a_listing_has_the_keys_below_a_folder_in_order,
                deleting_twice_is_no_error,
                deleting_a_folder_spares_its_neighbours,
                everything_is_never_deleted,
                keys_that_leave_the_bucket_are_refused,
                unusual_keys_are_kept_apart,
                files_of_every_size_come_back_whole,
                a_file_over_the_limit_is_not_sent,
                a_changed_object_is_corrupt,
                many_objects_are_written_and_listed_at_once,
            ]
        );
    };
}

all_behaviours!(folder, crate::fixture::folder);
all_behaviours!(s3, crate::fixture::s3);
