from benchmarks.gpu.job import Job
from benchmarks.report.record import read


def test_each_number_is_in_the_file_when_it_is_known(tmp_path):
    path = tmp_path / "gpu.json"
    job = Job("tiny", "", str(path), "", 1)
    job.keep("adapters", "W2", {"seconds": 1})
    job.keep("adapters", "W1", {"seconds": 2})
    assert read(path) == {"adapters": {"W2": {"seconds": 1}, "W1": {"seconds": 2}}}
    assert [file.name for file in tmp_path.iterdir()] == ["gpu.json"]
