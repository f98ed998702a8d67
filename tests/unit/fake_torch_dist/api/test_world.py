"""Making, asking and ending groups, with torch's errors."""

from datetime import timedelta

import pytest

import fake_torch_dist as dist


def test_before_init_everything_says_so():
    assert dist.is_available()
    assert not dist.is_initialized()
    assert dist.group.WORLD is dist.GroupMember.WORLD is None
    for call in (dist.get_rank, dist.get_world_size, dist.get_backend, dist.new_group, dist.barrier):
        with pytest.raises(ValueError, match=r"^Default process group has not been initialized, please make sure"):
            call()
    with pytest.raises(AssertionError, match="Process group cannot be None"):
        dist.destroy_process_group()


def test_the_process_plays_all_ranks_and_speaks_as_rank_0(virtual):
    virtual(64, 8)
    assert dist.is_initialized()
    assert (dist.get_rank(), dist.get_world_size(), dist.get_backend()) == (0, 64, "virtual")
    world = dist.group.WORLD
    assert world is dist.GroupMember.WORLD
    assert (world.rank(), world.size(), world.name(), world.group_name) == (0, 64, "virtual", "0")
    assert (world.ranks, world.ranks_per_node, world.group_desc) == (tuple(range(64)), 8, "default_pg")
    assert world.timeout == dist.default_pg_timeout == timedelta(seconds=1800)
    assert repr(world) == "<ProcessGroup '0' of 64 ranks, backend 'virtual'>"


def test_init_destroy_init(virtual):
    virtual(2)
    with pytest.raises(ValueError, match="trying to initialize the default process group twice!"):
        virtual(2)
    dist.destroy_process_group(dist.group.WORLD)
    assert not dist.is_initialized()
    dist.init_process_group("FAKE", world_size=3, rank=0)
    assert (dist.get_backend(), dist.get_world_size(), dist.group.WORLD.ranks_per_node) == ("fake", 3, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"backend": "mpi"}, RuntimeError, "Distributed package doesn't have MPI built in"),
        ({"backend": "cpu:gloo,cuda:ucc"}, RuntimeError, "doesn't have UCC built in"),
        ({"backend": "cpu:virtual"}, AssertionError, "Unknown backend type cpu:virtual"),
        ({"backend": "nope"}, AssertionError, "Unknown backend type nope"),
        ({"backend": 3}, ValueError, "Backend constructor parameter must be string-ish"),
        ({"timeout": 5}, TypeError, "Expected timeout argument to be of type datetime.timedelta, got 5"),
        ({"world_size": -1}, ValueError, r"init_process_group\('virtual', world_size=N\)"),
        ({"rank": 2}, ValueError, "rank=2 has no meaning in the virtual world"),
        ({"init_method": "env://"}, ValueError, "init_method has no meaning in the virtual world"),
        ({"store": object()}, ValueError, "store has no meaning"),
        ({"device_id": 0}, ValueError, "device_id=0: there are no devices"),
        ({"pg_options": {"ranks_per_node": 2}}, TypeError, "is a VirtualOptions, not dict"),
    ],
)
def test_init_refuses_what_it_cannot_do(arguments, error, text):
    with pytest.raises(error, match=text):
        dist.init_process_group(**{"backend": "virtual", "world_size": 4, **arguments})
    assert not dist.is_initialized()


def test_a_node_has_a_rank():
    with pytest.raises(ValueError, match="ranks_per_node = 0"):
        dist.VirtualOptions(ranks_per_node=0)


def test_new_group_sorts_and_translates(virtual):
    virtual(4)
    odd = dist.new_group([3, 1], group_desc="odd")
    assert dist.get_process_group_ranks(odd) == [1, 3]
    assert (dist.get_rank(odd), dist.get_world_size(odd), odd.group_name, odd.group_desc) == (0, 2, "1", "odd")
    assert (dist.get_group_rank(odd, 3), dist.get_global_rank(odd, 0)) == (1, 1)
    with pytest.raises(ValueError, match="Global rank 0 is not part of group <ProcessGroup '1'"):
        dist.get_group_rank(odd, 0)
    with pytest.raises(ValueError, match="Group rank 2 is not part of group"):
        dist.get_global_rank(odd, 2)
    unsorted = dist.new_group([3, 1], sort_ranks=False)
    assert dist.get_process_group_ranks(unsorted) == [3, 1]
    assert dist.get_process_group_ranks(dist.new_group()) == dist.get_process_group_ranks(None) == [0, 1, 2, 3]


def test_a_new_groups_name_is_never_taken():
    dist.init_process_group("virtual", world_size=2, group_name="1")
    try:
        assert dist.new_group().group_name == "2"
        assert dist.group.WORLD.group_name == "1"
    finally:
        dist.destroy_process_group()


def test_the_world_does_not_check_ranks_as_torch(virtual):
    virtual(2)
    assert dist.get_group_rank(dist.group.WORLD, 99) == dist.get_global_rank(dist.group.WORLD, 99) == 99


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"ranks": [4]}, ValueError, r"Rank 4 is out of range. Valid ranks are 0 to 3 \(world_size=4\)"),
        ({"ranks": [-1]}, ValueError, "Rank -1 is out of range"),
        ({"ranks": [0, 0]}, ValueError, r"ranks list must not contain duplicate entries, got \[0, 0\]"),
        ({"ranks": [0, 1, 2, 3, 0]}, ValueError, "the new group's world size should be less or equal"),
        ({"ranks": []}, TypeError, "at least one rank"),
        ({"timeout": 5}, TypeError, "Expected timeout"),
        ({"backend": "nope"}, AssertionError, "Unknown backend type nope"),
        ({"device_id": 0}, ValueError, "no devices"),
        ({"pg_options": dist.VirtualOptions()}, ValueError, "nodes belong to the world"),
    ],
)
def test_new_group_refuses(virtual, arguments, error, text):
    virtual(4)
    with pytest.raises(error, match=text):
        dist.new_group(**arguments)


def test_a_group_that_has_ended(virtual):
    virtual(2)
    small, other = dist.new_group([1]), dist.new_group([0])
    dist.destroy_process_group(small)
    for use in (dist.get_rank, dist.barrier, dist.destroy_process_group):
        with pytest.raises(ValueError, match=r"Group <ProcessGroup '1'.* is not registered"):
            use(small)
    dist.barrier(other)
    dist.destroy_process_group()
    with pytest.raises(ValueError, match="Default process group has not been initialized"):
        dist.barrier(other)


def test_what_is_no_group(virtual):
    virtual(2)
    outside = dist.GroupMember.NON_GROUP_MEMBER
    assert outside == dist.get_rank(outside) * 100 == dist.get_world_size(outside) * 100
    with pytest.raises(ValueError, match="Invalid process group specified"):
        dist.get_backend(outside)
    with pytest.raises(ValueError, match="Process group x is not initialized in the world group map"):
        dist.barrier("x")
    dist.barrier("0")
