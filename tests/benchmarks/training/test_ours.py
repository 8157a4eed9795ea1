from benchmarks.training.ours import LeadingShare


def test_the_beginning_of_a_response_is_hidden_but_never_all_of_it():
    assert LeadingShare(0.5)([7, 7, 7, 7], None, None) == [False, False, True, True]
    assert LeadingShare(0.0)([7], None, None) == [True]
    assert LeadingShare(0.9)([7], None, None) == [True]
