"""Keys go to the partitions that other clients choose for them."""

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from pipelines.kafka.partitioner import partition_of


@given(st.binary(max_size=40), st.integers(1, 12))
def test_partition_is_that_of_aiokafka(key: bytes, partitions: int) -> None:
    numbers = list(range(partitions))
    assert partition_of(key, partitions) == DefaultPartitioner()(key, numbers, numbers)
