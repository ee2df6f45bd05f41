//! What every engine must do, run on every engine by one macro.
//!
//! A behaviour is a function of a [`Rig`], in the file of its subject. It waits for what it expects, and sleeps for nothing; what
//! never comes fails the test.

#[path = "behaviour/cancel.rs"]
mod cancel;
#[path = "behaviour/connection.rs"]
mod connection;
#[path = "behaviour/descriptor.rs"]
mod descriptor;
#[path = "behaviour/provided_buffer.rs"]
mod provided_buffer;
#[path = "behaviour/rig.rs"]
mod rig;
#[path = "behaviour/stream.rs"]
mod stream;
#[path = "behaviour/wake.rs"]
mod wake;

macro_rules! on_every_engine {
    ($($behaviour:tt)*) => {
        sward_engine::for_each_engine!(on_engines, $($behaviour)*);
    };
}

macro_rules! on_engines {
    ($behaviours:tt $($(#[$documentation:meta])* $engine:ident $kind:ident $description:literal;)*) => {
        $(on_engine! { $engine $kind $behaviours })*
    };
}

macro_rules! on_engine {
    ($engine:ident $kind:ident ($($subject:ident { $($behaviour:ident)* })*)) => {
        mod $engine {
            $($(
                #[test]
                fn $behaviour() {
                    const NAME: &str = concat!(stringify!($engine), "::", stringify!($behaviour));
                    if let Some(mut rig) = crate::rig::Rig::open(sward_engine::EngineKind::$kind, NAME) {
                        crate::$subject::$behaviour(&mut rig);
                    }
                }
            )*)*
        }
    };
}

on_every_engine! {
    stream {
        bytes_go_both_ways
        eight_mebibytes_go_through_partial_sends
        the_end_behind_data_is_not_missed
        the_end_that_races_with_the_data_is_not_missed
        urgent_data_hides_nothing_behind_it
        a_reset_ends_a_receive
        a_send_to_a_closed_peer_fails
        shutdown_of_a_clone_ends_a_receive
        two_receivers_on_one_descriptor
        a_receiver_and_a_sender_on_one_descriptor
        a_peek_takes_nothing
        datagrams_that_came_together_are_all_received
        descriptors_that_travel_along_hide_nothing_behind_them
        a_non_blocking_socket_is_waited_for
    }
    provided_buffer {
        a_buffer_comes_with_the_data_and_not_before
        many_buffers_are_provided_at_once
        a_cancelled_provided_receive_loses_nothing
        a_cancel_that_comes_with_the_data_loses_nothing
        nobody_is_read_far_ahead
        when_no_buffer_is_left_it_says_so_and_loses_nothing
        a_stopped_multishot_receive_takes_nothing_more
        a_multishot_receive_is_stopped_in_the_midst_of_much_data
        a_cancel_after_an_answer_that_was_found_early_harms_nobody
        a_buffer_outlives_its_engine
    }
    connection {
        accept_takes_what_waits_and_waits_for_more
        accept_tells_the_address
        connect_reaches_a_listener
        connect_is_refused
        connect_leaves_the_flags_alone
        a_cancelled_connect_can_be_taken_up_again
        accept_without_free_descriptors_fails
    }
    cancel {
        a_cancelled_receive_completes_once
        bytes_after_a_cancel_are_kept
        one_of_two_receivers_is_cancelled
        a_cancelled_send_has_sent_nothing
        cancel_after_the_bytes_have_come_loses_none
        cancels_that_race_with_bytes_lose_none
    }
    wake {
        a_wait_ends_when_its_time_is_over
        a_wake_before_the_wait_ends_it
        no_wake_of_another_thread_is_lost
        a_wake_after_the_end_does_no_harm
    }
    descriptor {
        a_pipe_is_read_and_written
        a_megabyte_goes_through_a_pipe
        a_regular_file_is_read_to_its_end
        poll_waits_for_an_eventfd
        poll_waits_for_a_timerfd
        poll_waits_for_room_to_write
        poll_and_receive_on_one_descriptor
        one_descriptor_is_waited_for_under_several_identities
        an_identity_goes_while_others_wait
        a_number_is_used_again_under_a_watcher
        a_number_that_is_used_again_is_another_descriptor
        a_number_is_used_again_while_a_duplicate_lives
        a_number_beyond_1024_works
        a_closed_descriptor_is_an_error
        two_engines_share_a_descriptor
    }
}
