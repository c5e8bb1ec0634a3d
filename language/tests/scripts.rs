//! Scripts, accepted and wrong, and what the compiler says of them. A test's name is the rule that it shows.
//!
//! Each script lies in `scripts/<chapter>/<name>.bue`, beside it the snapshot of its plan in short and of its diagnostics.

mod outline;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bue_language::{Files, compile, render};

/// The files beside every script.
struct Beside;

const FILES: [&str; 8] = [
    "a.py",
    "b.py",
    "my file (1).py",
    "other/a.py",
    "example.py",
    "statistics.py",
    "sub dir/my step.py",
    "steps/query.sql",
];

impl Files for Beside {
    fn has(&self, path: &str) -> bool {
        path == "steps/a.py" || FILES.contains(&path)
    }

    fn paths(&self) -> Vec<String> {
        FILES.iter().chain(&["steps/a.py"]).map(|path| (*path).to_owned()).collect()
    }
}

fn folder(chapter: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts").join(chapter)
}

fn check(chapter: &str, name: &str) {
    let bytes = std::fs::read(folder(chapter).join(name).with_extension("bue")).expect("the script is there");
    let compiled = compile("script.bue", &bytes, &Beside);
    let text = String::from_utf8_lossy(&bytes);
    let plan = compiled.plan.as_ref().map_or_else(|| "no plan\n".to_owned(), outline::of);
    let seen = format!("{plan}\n{}", render(&compiled.diagnostics, &text, false));
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder(chapter));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, seen));
}

fn every_script_is_listed(chapter: &str, listed: &[&str]) {
    let entries = std::fs::read_dir(folder(chapter)).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let scripts = paths.filter(|path| path.extension().is_some_and(|extension| extension == "bue"));
    let names: BTreeSet<String> = scripts.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    assert_eq!(names, listed.iter().map(|name| (*name).to_owned()).collect());
}

macro_rules! scripts {
    ($chapter:ident: $($name:ident,)*) => {
        mod $chapter {
            $(
                #[test]
                fn $name() {
                    super::check(stringify!($chapter), stringify!($name));
                }
            )*

            #[test]
            fn all_scripts_are_listed() {
                super::every_script_is_listed(stringify!($chapter), &[$(stringify!($name)),*]);
            }
        }
    };
}

scripts!(
    text:
    lf_ends_a_line,
    crlf_ends_a_line,
    cr_ends_a_line,
    mixed_line_ends_are_accepted,
    the_last_line_needs_no_end,
    u2028_ends_no_line,
    u0085_and_form_feed_end_no_line,
    a_byte_order_mark_is_skipped,
    a_byte_order_mark_shifts_no_column,
    an_empty_script_runs_nothing,
    comments_alone_run_nothing,
    a_comment_may_stand_everywhere,
    backticks_in_a_comment_mean_nothing,
    a_code_block_on_one_line,
    a_code_block_over_several_lines,
    text_may_follow_the_opening_and_precede_the_closing_backtick,
    code_is_verbatim_with_hashes_and_indentation,
    what_looks_like_a_script_in_code_is_code,
    only_a_comment_may_follow_a_closing_backtick,
    there_is_no_escape_for_a_backtick,
    an_unclosed_code_block_is_an_error_where_it_opens,
    an_unclosed_code_block_of_an_import,
    code_outside_of_a_step_is_an_error,
    code_behind_a_call_is_an_error,
    a_backtick_inside_a_path_opens_no_code,
    one_level_is_four_spaces,
    three_spaces_are_wrong_in_a_loop,
    a_tab_character_is_an_error,
    spaces_and_tab_characters_are_counted_apart,
    tab_says_the_unit_of_indentation,
    tab_takes_double_quotes_and_a_comment,
    tab_may_be_a_tab_character,
    tab_may_be_written_as_an_escape,
    tab_counts_for_the_whole_file,
    four_spaces_are_wrong_where_tab_says_two,
    an_empty_tab_is_an_error,
    a_tab_of_letters_is_an_error,
    an_unclosed_tab_is_an_error,
    tab_set_twice_is_an_error,
    tab_is_a_pipe_name_as_well,
    deeper_than_the_step_is_an_error,
    indentation_at_the_margin_is_an_error,
    a_blank_line_may_have_any_indentation,
    names_hold_letters_digits_and_inner_blanks,
    names_are_trimmed,
    steps_pipes_and_variables_are_separate_namespaces,
    a_step_may_be_called_for_or_import,
    a_name_with_a_dot_is_an_error,
    a_name_with_brackets_is_an_error,
    a_no_break_space_is_named,
    a_full_width_bracket_is_named,
    a_smart_quote_is_named,
    a_zero_width_space_is_named,
    a_leading_json_object_is_read_over,
    a_leading_json_object_may_span_lines,
    a_broken_leading_object_is_an_error,
    text_that_is_no_utf8_is_an_error,
    a_nul_character_is_an_error,
);

scripts!(
    settings:
    defaults_hold_without_settings,
    the_older_forms_at_the_margin,
    the_newer_forms_at_the_margin,
    both_forms_in_one_file,
    the_margin_counts_for_the_steps_below,
    in_a_step_before_the_language,
    in_a_step_after_the_language,
    in_a_step_after_the_function,
    in_a_step_after_the_source,
    a_step_overrides_the_margin_for_itself_only,
    several_settings_on_one_line,
    a_priority_may_be_negative,
    a_scope_may_hold_blanks_and_letters,
    a_timeout_is_an_arithmetic_expression,
    a_timeout_of_zero_is_an_error,
    a_negative_timeout_is_an_error,
    a_timeout_beyond_the_limit_is_an_error,
    the_longest_timeout_is_accepted,
    a_tower_of_powers_is_an_error_and_no_hang,
    division_by_zero_is_an_error,
    a_timeout_with_a_unit_is_an_error,
    a_broken_expression_is_an_error,
    an_expression_holds_no_names,
    an_unknown_setting_is_an_error,
    an_unknown_setting_in_a_step_is_an_error,
    an_empty_value_is_an_error,
    a_malformed_priority_is_an_error,
    malformed_retries_are_an_error,
    a_malformed_scope_is_an_error,
    a_setting_repeated_in_a_step_earns_a_warning,
    a_setting_in_a_loop_is_an_error,
    on_an_import_item_in_any_order,
    wrong_ones_on_an_import_item_are_errors,
    what_an_attempt_may_use,
    malformed_ones_of_an_attempt_are_errors,
    one_that_means_nothing_in_its_language_earns_a_warning,
);

scripts!(
    steps:
    every_word_for_a_language,
    an_unknown_language_is_an_error,
    a_step_without_lines_is_an_error,
    a_step_without_a_source_is_an_error,
    a_step_without_a_function_is_an_error,
    a_step_without_a_language_is_an_error,
    a_step_with_a_line_too_many_is_an_error,
    code_in_the_place_of_the_function_is_an_error,
    code_without_a_function_is_an_error,
    a_function_with_brackets_is_an_error,
    a_function_with_a_dot_is_an_error,
    language_function_and_source_on_the_first_line_are_an_error,
    a_comment_may_stand_after_every_line,
    a_path_may_hold_blanks_and_folders,
    steps_share_the_source_of_one_file,
    a_file_named_like_a_module_is_a_file,
    two_files_of_one_name_in_two_folders,
    a_missing_file_of_a_used_step_is_an_error,
    a_missing_file_of_an_unused_step_is_a_warning,
    a_missing_file_of_a_pipe_that_is_never_called_is_a_warning,
    a_misspelt_file_finds_its_name,
    a_file_in_another_folder_is_found,
    a_quoted_path_is_an_error,
    a_path_with_backslashes_is_an_error,
    an_absolute_path_is_an_error,
    a_path_out_of_the_bundle_is_an_error,
    a_path_to_a_folder_is_an_error,
    an_import_defines_one_step_per_item,
    an_import_may_span_lines,
    an_import_takes_code,
    an_import_takes_code_on_one_line,
    the_source_of_an_import_may_stand_on_the_next_line,
    the_file_of_an_import_may_hold_blanks,
    an_import_with_a_trailing_comma,
    as_may_be_part_of_names,
    an_import_without_a_source_is_an_error,
    an_import_without_items_is_an_error,
    an_import_without_a_language_is_an_error,
    an_import_of_an_unknown_language_is_an_error,
    an_import_in_pythons_form_is_an_error,
    an_import_of_dotted_names_is_an_error,
    an_import_that_is_never_closed_is_an_error,
    an_alias_that_is_missing_is_an_error,
    definitions_may_follow_their_use,
    a_step_defined_twice_is_an_error,
    a_step_that_is_never_used_earns_a_warning,
    a_step_that_is_never_used_is_checked_too,
    a_step_in_a_loop_is_an_error,
    an_import_in_a_loop_is_an_error,
    settings_between_comments_and_blank_lines,
);

scripts!(
    pipes:
    a_pipe_joins_steps,
    a_pipe_of_one_step_with_a_leading_bar,
    a_pipe_of_one_step_with_a_trailing_bar,
    empty_parts_are_ignored,
    a_pipe_over_several_lines_in_brackets,
    a_pipe_without_a_bar_is_an_error,
    a_pipe_without_steps_is_an_error,
    a_pipe_holds_one_step_twice,
    an_unknown_step_is_an_error_with_the_nearest_name,
    a_pipe_in_a_pipe_is_an_error,
    a_call_in_a_pipe_is_an_error,
    commas_in_a_pipe_are_an_error,
    inner_brackets_in_a_pipe_are_an_error,
    steps_without_a_bar_between_lines_are_an_error,
    a_pipe_over_several_lines_without_brackets_is_an_error,
    a_pipe_defined_twice_is_an_error,
    a_pipe_that_is_never_called_earns_a_warning,
    a_pipe_defined_in_a_loop_counts_everywhere,
    a_pipe_without_a_name_is_an_error,
    a_call_makes_a_chain,
    a_call_assigns_a_variable,
    a_call_takes_several_arguments_in_order,
    a_call_may_span_lines,
    a_variable_may_be_assigned_again,
    a_nested_call_is_an_error,
    a_literal_is_an_error,
    a_named_argument_is_an_error,
    an_unknown_pipe_is_an_error_with_the_nearest_name,
    an_unknown_variable_is_an_error_with_the_nearest_name,
    a_variable_used_before_it_is_assigned_is_an_error,
    a_call_of_a_step_is_an_error_with_a_hint,
    a_pipe_as_an_argument_is_an_error_with_a_hint,
    a_step_as_an_argument_is_an_error_with_a_hint,
    an_assignment_of_a_joined_call_is_an_error,
    a_call_without_a_closing_bracket_is_an_error,
    a_bracket_too_many_is_an_error,
    an_empty_argument_is_an_error,
    a_name_alone_is_an_error,
    two_statements_on_one_line_are_an_error,
    a_comparison_is_an_error,
    python_is_an_error_with_a_hint,
    an_attribute_is_an_error,
    the_result_of_a_wrong_call_is_not_reported_again,
);

scripts!(
    loops:
    a_loop_runs_over_a_call,
    a_loop_runs_over_a_call_with_arguments,
    a_body_uses_items_and_outer_variables,
    results_that_a_deeper_block_uses_are_captured,
    loops_are_nested,
    statements_take_effect_in_order_loops_included,
    an_assignment_in_a_loop_hides_the_outer_one_in_it_only,
    a_variable_assigned_inside_is_not_visible_after_the_loop,
    a_loop_variable_is_not_visible_after_the_loop,
    a_loop_variable_hides_an_outer_one,
    a_missing_body_is_an_error,
    a_missing_body_at_the_end_is_an_error,
    a_body_of_comments_is_missing,
    a_body_that_calls_no_pipe_is_an_error,
    a_missing_colon_is_an_error,
    a_loop_over_a_pipe_that_is_not_called_is_an_error,
    a_loop_over_a_variable_is_an_error,
    a_loop_over_two_variables_is_an_error,
    a_loop_without_in_is_an_error,
    a_loop_in_a_loop_without_its_own_indentation_is_an_error,
    a_body_that_is_too_deep_is_an_error,
    a_body_after_blank_lines_and_comments,
    a_loop_over_an_undefined_pipe_is_an_error_and_its_body_is_checked,
    loop_variables_hold_blanks,
    a_loop_with_an_unreadable_body_is_not_called_empty,
);

scripts!(
    errors:
    independent_errors_are_reported_at_once,
    the_first_in_the_file_comes_first,
    the_first_in_the_file_comes_first_over_kinds,
    a_definition_that_could_not_be_read_is_not_reported_as_undefined,
    an_undefined_name_elsewhere_is_reported_all_the_same,
    control_characters_are_not_printed,
    long_lines_are_cut,
    a_script_that_calls_nothing_earns_a_warning,
    wide_characters_are_marked_in_their_place,
    a_reserved_looking_line_is_explained,
    lines_below_a_wrong_header_are_not_reported_again,
    lines_in_a_wrong_bracket_are_not_reported_again,
);
