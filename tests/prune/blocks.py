"""Blocks that networks are composed of at random: what torch-pruning maps rightly, wrongly and not at all.

Each takes (N, c, H, W) and gives (N, ``outputs``, H', W'); ``NORMALISES`` names those that normalise over channels.
"""

import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCKS: dict[str, Callable[[int], "Block"]] = {}
NORMALISES = {"group_norm", "layer_norm"}
UNFOLDED = {"weight_norm", "spectral_norm", "old_weight_norm"}


class Block(nn.Module):
    """``run`` is called with this module and the input; parts are set by name."""

    def __init__(self, outputs: int, run: Callable[["Block", Tensor], Tensor], **parts: nn.Module | Tensor):
        super().__init__()
        self.outputs, self.run = outputs, run
        for name, part in parts.items():
            if isinstance(part, nn.Module | nn.Parameter):
                setattr(self, name, part)
            else:
                self.register_buffer(name, part)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def block(make: Callable[[int], Block]) -> Callable[[int], Block]:
    BLOCKS[make.__name__] = make
    return make


def conv(inputs: int, outputs: int, size: int = 3, **options: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, **options)


@block
def plain(c: int) -> Block:
    return Block(12, lambda m, x: F.relu(m.norm(m.conv(x))), conv=conv(c, 12), norm=nn.BatchNorm2d(12))


@block
def residual(c: int) -> Block:
    return Block(c, lambda m, x: x + m.two(F.relu(m.one(x))), one=conv(c, 8), two=conv(8, c))


@block
def padded_shortcut(c: int) -> Block:
    return Block(c + 4, lambda m, x: F.relu(F.pad(x, (0, 0, 0, 0, 2, 2)) + m.conv(x)), conv=conv(c, c + 4))


@block
def pad_behind_sequence(c: int) -> Block:
    return Block(
        c + 3, lambda m, x: torch.cat([m.conv(x), x.new_zeros(x.shape[0], 3, *x.shape[2:])], 1), conv=conv(c, c)
    )


@block
def spatial_gate(c: int) -> Block:
    return Block(c, lambda m, x: torch.sigmoid(m.gate(x)) * x, gate=conv(c, 1, 1))


@block
def one_channel_bias(c: int) -> Block:
    return Block(8, lambda m, x: m.main(x) - m.other(x), main=conv(c, 8), other=conv(c, 1))


@block
def channel_statistics(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        return x * torch.sigmoid(m.gate(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)))

    return Block(c, run, gate=conv(2, 1))


@block
def glu(c: int) -> Block:
    return Block(8, lambda m, x: F.glu(m.conv(x), 1), conv=conv(c, 16))


@block
def glu_of_a_sum(c: int) -> Block:
    return Block(6, lambda m, x: nn.GLU(1)(m.one(x) + m.two(x)), one=conv(c, 12), two=conv(c, 12, 1))


@block
def chunks_multiplied(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        u, v = m.conv(x).chunk(2, 1)
        return u * torch.sigmoid(v)

    return Block(8, run, conv=conv(c, 16))


@block
def chunks_added(c: int) -> Block:
    return Block(6, lambda m, x: sum(m.conv(x).chunk(3, 1)), conv=conv(c, 18))  # type: ignore[arg-type, return-value]


@block
def chunks_apart(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        u, v = m.conv(x).chunk(2, 1)
        return torch.cat([u, v, m.inner(F.relu(v))], 1)

    return Block(18, run, conv=conv(c, 12), inner=conv(6, 6))


@block
def chunks_with_shortcut(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        u, v = m.conv(x).split((6, 6), 1)
        return torch.cat([u, v + m.inner(F.relu(v))], 1)

    return Block(12, run, conv=conv(c, 12), inner=conv(6, 6))


@block
def chunks_crossed(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        u, v, w = m.conv(x).chunk(3, 1)
        return torch.cat([u * v, w], 1)

    return Block(8, run, conv=conv(c, 12))


@block
def uneven_split(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        u, v = m.conv(x).split((3, 9), 1)
        return m.one(u) + m.two(v)

    return Block(8, run, conv=conv(c, 12), one=conv(3, 8), two=conv(9, 8))


@block
def slices(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        x = m.conv(x)
        return torch.cat([m.one(x[:, :6]), x[:, 6:]], 1)

    return Block(12, run, conv=conv(c, 12), one=conv(6, 6))


@block
def every_other(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        x = m.conv(x)
        return x[:, ::2] * torch.tanh(x[:, 1::2])

    return Block(6, run, conv=conv(c, 12))


@block
def chosen(c: int) -> Block:
    return Block(
        5, lambda m, x: m.conv(x).index_select(1, m.index), conv=conv(c, 9), index=torch.tensor([7, 0, 3, 3, 8])
    )


@block
def indexed(c: int) -> Block:
    return Block(3, lambda m, x: m.conv(x)[:, [4, 1, 2]], conv=conv(c, 9))


@block
def rolled(c: int) -> Block:
    return Block(8, lambda m, x: m.conv(x).roll(3, 1).flip(1), conv=conv(c, 8))


@block
def pixel_shuffle(c: int) -> Block:
    return Block(4, lambda m, x: F.avg_pool2d(F.pixel_shuffle(m.conv(x), 2), 2), conv=conv(c, 16))


@block
def pixel_unshuffle(c: int) -> Block:
    return Block(8, lambda m, x: m.after(F.pixel_unshuffle(m.conv(x), 2)), conv=conv(c, 6), after=conv(24, 8))


@block
def shuffle_with_numbers(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        x = m.conv(x)
        return x.view(-1, 2, 6, *x.shape[2:]).transpose(1, 2).reshape(-1, 12, *x.shape[2:])

    return Block(12, run, conv=conv(c, 12))


@block
def channel_shuffle(c: int) -> Block:
    return Block(12, lambda m, x: F.channel_shuffle(m.conv(x), 3), conv=conv(c, 12))


@block
def maxout(c: int) -> Block:
    return Block(6, lambda m, x: m.conv(x).unflatten(1, (6, 2)).amax(2), conv=conv(c, 12))


@block
def layer_scale(c: int) -> Block:
    return Block(c, lambda m, x: x + m.scale * m.conv(x), conv=conv(c, c), scale=nn.Parameter(torch.ones(c, 1, 1)))


@block
def learned_bias(c: int) -> Block:
    return Block(8, lambda m, x: m.conv(x) + m.bias, conv=conv(c, 8), bias=nn.Parameter(torch.ones(1, 8, 1, 1)))


@block
def learned_map(c: int) -> Block:
    return Block(8, lambda m, x: m.conv(x)[..., :2, :2] + m.map, conv=conv(c, 8), map=nn.Parameter(torch.ones(8, 2, 2)))


@block
def temperature(c: int) -> Block:
    return Block(c, lambda m, x: x * m.scale.exp(), scale=nn.Parameter(torch.ones(1, 1, 1, 1)))


@block
def buffer_mean(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        return F.relu(m.conv(x) - m.mean)

    return Block(8, run, conv=conv(c, 8), mean=torch.linspace(-1, 1, 8).view(1, 8, 1, 1))


@block
def fixed_blur(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        return F.conv2d(m.conv(x), m.kernel, padding=1, groups=8)

    return Block(8, run, conv=conv(c, 8), kernel=torch.full((8, 1, 3, 3), 1 / 9))


@block
def own_filter(c: int) -> Block:
    return Block(
        8, lambda m, x: F.conv2d(m.conv(x), m.kernel), conv=conv(c, 6), kernel=nn.Parameter(torch.ones(8, 6, 1, 1))
    )


@block
def weight_norm(c: int) -> Block:
    return Block(8, lambda m, x: F.relu(m.conv(x)), conv=nn.utils.parametrizations.weight_norm(conv(c, 8)))


@block
def old_weight_norm(c: int) -> Block:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Block(8, lambda m, x: F.relu(m.conv(x)), conv=nn.utils.weight_norm(conv(c, 8)))


@block
def spectral_norm(c: int) -> Block:
    return Block(8, lambda m, x: F.relu(m.conv(x)), conv=nn.utils.parametrizations.spectral_norm(conv(c, 8)))


@block
def separable(c: int) -> Block:
    return Block(8, lambda m, x: m.point(F.relu(m.depth(x))), depth=conv(c, c, groups=c), point=conv(c, 8, 1))


@block
def two_filters_a_channel(c: int) -> Block:
    return Block(8, lambda m, x: m.point(m.depth(x)), depth=conv(c, 2 * c, groups=c), point=conv(2 * c, 8, 1))


@block
def grouped(c: int) -> Block:
    return Block(
        12, lambda m, x: F.relu(m.inner(m.conv(x))), conv=conv(c, 8), inner=nn.Conv2d(8, 12, 3, padding=1, groups=4)
    )


@block
def grouped_few(c: int) -> Block:
    return Block(8, lambda m, x: m.inner(F.relu(m.conv(x))), conv=conv(c, 16), inner=conv(16, 8, groups=2))


@block
def transposed(c: int) -> Block:
    return Block(8, lambda m, x: F.max_pool2d(m.conv(x), 2), conv=nn.ConvTranspose2d(c, 8, 2, 2))


@block
def transposed_groups(c: int) -> Block:
    return Block(
        8, lambda m, x: m.up(m.conv(x))[..., ::2, ::2], conv=conv(c, 8), up=nn.ConvTranspose2d(8, 8, 2, 2, groups=2)
    )


@block
def group_norm(c: int) -> Block:
    return Block(8, lambda m, x: F.relu(m.norm(m.conv(x))), conv=conv(c, 8), norm=nn.GroupNorm(2, 8))


@block
def instance_norm(c: int) -> Block:
    return Block(8, lambda m, x: m.norm(m.conv(x)), conv=conv(c, 8), norm=nn.InstanceNorm2d(8, affine=True))


@block
def layer_norm(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        return m.norm(m.conv(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    return Block(8, run, conv=conv(c, 8), norm=nn.LayerNorm(8))


@block
def softmax_of_channels(c: int) -> Block:
    return Block(8, lambda m, x: m.conv(x).softmax(1), conv=conv(c, 8))


@block
def prelu(c: int) -> Block:
    return Block(8, lambda m, x: m.act(m.conv(x)), conv=conv(c, 8), act=nn.PReLU(8))


@block
def squeeze_excite(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        return x * torch.sigmoid(m.up(F.relu(m.down(x.mean((2, 3)))))).view(x.shape[0], -1, 1, 1)

    return Block(c, run, down=nn.Linear(c, 4), up=nn.Linear(4, c))


@block
def squeeze_excite_with_numbers(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        x = m.conv(x)
        return x * torch.sigmoid(m.gate(x.mean((2, 3)))).view(-1, 8, 1, 1)

    return Block(8, run, conv=conv(c, 8), gate=nn.Linear(8, 8))


@block
def dense(c: int) -> Block:
    return Block(c + 4, lambda m, x: torch.cat([x, m.conv(F.relu(x))], 1), conv=conv(c, 4))


@block
def parameter_product(c: int) -> Block:
    return Block(
        6,
        lambda m, x: torch.einsum("nchw,co->nohw", m.conv(x), m.mix),
        conv=conv(c, 8),
        mix=nn.Parameter(torch.ones(8, 6)),
    )


@block
def outer_product(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        q, k = m.query(x).flatten(2), m.key(x).flatten(2)
        return (q @ k.transpose(1, 2)).softmax(-1) @ m.value(x).flatten(2).unsqueeze(1).flatten(1, 2)[:, :8]

    def maps(m: Block, x: Tensor) -> Tensor:
        return run(m, x).view(x.shape[0], 8, *x.shape[2:])

    return Block(8, maps, query=conv(c, 8, 1), key=conv(c, 8, 1), value=conv(c, 8, 1))


@block
def called_twice(c: int) -> Block:
    return Block(8, lambda m, x: m.twice(F.relu(m.twice(m.conv(x)))), conv=conv(c, 8), twice=conv(8, 8))


@block
def tied(c: int) -> Block:
    made = Block(8, lambda m, x: m.two(F.relu(m.one(m.conv(x)))), conv=conv(c, 8), one=conv(8, 8), two=conv(8, 8))
    made.two.weight = made.one.weight
    return made


@block
def attention(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        tokens = m.conv(x).flatten(2).transpose(1, 2)
        tokens = tokens + m.heads(tokens, tokens, tokens, need_weights=False)[0]
        return tokens.transpose(1, 2).unflatten(2, x.shape[2:])

    return Block(8, run, conv=conv(c, 8), heads=nn.MultiheadAttention(8, 2, batch_first=True))


@block
def own_attention(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        q, k, v = m.qkv(tokens).view(x.shape[0], -1, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        found = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape[0], -1, 8)
        return m.out(found).transpose(1, 2).unflatten(2, x.shape[2:])

    return Block(8, run, qkv=nn.Linear(c, 24), out=nn.Linear(8, 8))


def _recurrent(c: int, kind: type[nn.RNNBase]) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        rows, _ = m.rnn(F.relu(m.conv(x)).mean(2).transpose(1, 2))
        return rows.transpose(1, 2).unsqueeze(2) + m.other(x)

    return Block(8, run, conv=conv(c, 6), rnn=kind(6, 4, batch_first=True, bidirectional=True), other=conv(c, 8))


@block
def lstm(c: int) -> Block:
    return _recurrent(c, nn.LSTM)


@block
def gru(c: int) -> Block:
    return _recurrent(c, nn.GRU)


@block
def repeated(c: int) -> Block:
    return Block(12, lambda m, x: m.conv(x).repeat(1, 2, 1, 1), conv=conv(c, 6))


@block
def repeat_interleaved(c: int) -> Block:
    return Block(12, lambda m, x: m.conv(x).repeat_interleave(2, 1), conv=conv(c, 6))


@block
def expanded(c: int) -> Block:
    return Block(8, lambda m, x: m.one(x).expand(-1, 8, -1, -1) + m.conv(x), one=conv(c, 1), conv=conv(c, 8))


@block
def through_one_channel(c: int) -> Block:
    return Block(8, lambda m, x: m.up(torch.tanh(m.down(x))), down=conv(c, 1), up=conv(1, 8))


@block
def volumes(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        return m.two(F.relu(m.one(x.unsqueeze(2)))).squeeze(2)

    return Block(8, run, one=nn.Conv3d(c, 6, 1), two=nn.Conv3d(6, 8, 1))


@block
def sequences(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        return m.two(F.relu(m.one(x.flatten(2)))).unflatten(2, x.shape[2:])

    return Block(8, run, one=nn.Conv1d(c, 6, 3, padding=1), two=nn.Conv1d(6, 8, 1))


@block
def detached(c: int) -> Block:
    return Block(8, lambda m, x: m.two(F.relu(m.one(x)).detach()) + m.other(x), **{
        "one": conv(c, 6), "two": conv(6, 8), "other": conv(c, 8)
    })  # fmt: skip


@block
def frozen(c: int) -> Block:
    return Block(8, lambda m, x: F.relu(m.conv(x)), conv=conv(c, 8).requires_grad_(False))


@block
def rounded(c: int) -> Block:
    return Block(8, lambda m, x: m.two(m.one(x).round()), one=conv(c, 6), two=conv(6, 8))


@block
def halves_of_the_batch(c: int) -> Block:
    return Block(8, lambda m, x: torch.cat([m.conv(part) for part in x.split(1)], 0), conv=conv(c, 8))


@block
def in_place(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        x = m.conv(x)
        x[:, :2] = 0
        return x

    return Block(8, run, conv=conv(c, 8))


@block
def written_into(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        out = x.new_zeros(x.shape[0], 10, *x.shape[2:])
        out[:, :6], out[:, 6:] = m.one(x), m.two(x)
        return out

    return Block(10, run, one=conv(c, 6), two=conv(c, 4))


@block
def stacked(c: int) -> Block:
    return Block(8, lambda m, x: torch.stack([m.one(x), m.two(x)], 1).amax(1), one=conv(c, 8), two=conv(c, 8))


@block
def normalised_by_hand(c: int) -> Block:
    def run(m: Block, x: Tensor) -> Tensor:
        x = m.conv(x)
        return (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True) + 1e-5).sqrt()

    return Block(8, run, conv=conv(c, 8))


@block
def cosine(c: int) -> Block:
    return Block(8, lambda m, x: m.two(F.normalize(m.one(x), dim=1)), one=conv(c, 6), two=conv(6, 8))


NORMALISES |= {"cosine", "normalised_by_hand"}
