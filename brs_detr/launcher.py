"""torch's launcher of several processes, torchrun, whose machines meet as the processes do."""

from torch.distributed.elastic.rendezvous import (
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    rendezvous_handler_registry,
)
from torch.distributed.elastic.rendezvous.static_tcp_rendezvous import StaticTCPRendezvous
from torch.distributed.elastic.rendezvous.utils import parse_rendezvous_endpoint

from brs_detr.rendezvous import choose_interface, connect_minutes, meeting

BACKEND = "machines"  # of torchrun's --rdzv-backend


class Machines(StaticTCPRendezvous):
    """Machines of known rank; machine 0 keeps the store. Where they do not meet, an InputError says why."""

    def get_backend(self) -> str:
        return BACKEND

    def next_rendezvous(self) -> RendezvousInfo:
        with meeting(self.master_addr, self.master_port, keeps_store=self.rank == 0):
            return super().next_rendezvous()


def create(parameters: RendezvousParameters) -> RendezvousHandler:
    """From torchrun's --rdzv-endpoint, --nnodes and --rdzv-conf rank=NODE_RANK.

    Raises:
        InputError: other machines cannot reach this address.
    """
    host, port = parse_rendezvous_endpoint(parameters.endpoint, -1)
    choose_interface([host], machines=parameters.max_nodes)
    seconds = round(60 * connect_minutes())
    return Machines(host, port, int(parameters.config["rank"]), parameters.max_nodes, parameters.run_id, seconds)


def register() -> None:
    """Let torchrun know BACKEND."""
    rendezvous_handler_registry.register(BACKEND, create)
