//! One suite of behaviours for every kind of bucket.

mod behaviours;
mod fixture;
#[path = "../../../tests/weed/server.rs"]
mod seaweedfs;

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

/// All behaviours one after another, on one service: it takes seconds to start.
macro_rules! one_service {
    ($kind:ident, $start:path, [$($behaviour:ident),* $(,)?]) => {
        mod $kind {
            #[tokio::test(flavor = "multi_thread")]
            async fn does_all_that_a_bucket_does() {
                let service = $start();
                let bucket = super::fixture::other_s3(&service.url()).await;
                $(
                    println!("{}", stringify!($behaviour));
                    let fixture = super::fixture::in_bucket(&bucket, stringify!($behaviour));
                    super::behaviours::$behaviour(&fixture).await;
                )*
            }
        }
    };
}

/// The same list for all.
macro_rules! all_behaviours {
    ($way:ident, $kind:ident, $open:path) => {
        $way!(
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

all_behaviours!(conformance, folder, crate::fixture::folder);
all_behaviours!(conformance, s3, crate::fixture::s3);
all_behaviours!(one_service, weed, crate::seaweedfs::Server::start);
