"""A training step of the benchmarks' models in PyTorch eager on the CPU, whenever a line comes in: what side-by-side.ts runs beside LeanTune.

The models are those of benchmarks/models, with PyTorch's own layers: SGD at 1e-4, cross-entropy, all weights trained.
"""

import argparse
import json
import pathlib
import platform
import sys
import time

import torch
from torch import nn

def conv_bn(c_in, c_out, size, stride, groups=1, bias=False):
    conv = nn.Conv2d(c_in, c_out, size, stride, padding=size // 2, groups=groups, bias=bias)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out))


class Residual(nn.Module):
    def __init__(self, layers, shortcut=None, activation=None):
        super().__init__()
        self.layers, self.shortcut, self.activation = layers, shortcut or nn.Identity(), activation or nn.Identity()

    def forward(self, x):
        return self.activation(self.layers(x) + self.shortcut(x))


def mobilenet_v2(classes):
    stages = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    layers, c_in = [conv_bn(3, 32, 3, 2), nn.ReLU6()], 32
    for expansion, c, repeats, first in stages:
        for i in range(repeats):
            stride, hidden = (first if i == 0 else 1), expansion * c_in
            block = [] if expansion == 1 else [conv_bn(c_in, hidden, 1, 1), nn.ReLU6()]
            block = nn.Sequential(*block, conv_bn(hidden, hidden, 3, stride, hidden), nn.ReLU6(), conv_bn(hidden, c, 1, 1))
            layers.append(Residual(block) if stride == 1 and c_in == c else block)
            c_in = c
    return nn.Sequential(*layers, conv_bn(c_in, 1280, 1, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, classes))


def resnet_50(classes):
    layers, c_in = [conv_bn(3, 64, 7, 2, bias=True), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)], 64
    for c, blocks, first in [(64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)]:
        for i in range(blocks):
            stride = first if i == 0 else 1
            parts = [conv_bn(c_in, c, 1, stride, bias=True), nn.ReLU(), conv_bn(c, c, 3, 1, bias=True), nn.ReLU(), conv_bn(c, 4 * c, 1, 1, bias=True)]
            layers.append(Residual(nn.Sequential(*parts), conv_bn(c_in, 4 * c, 1, stride, bias=True) if i == 0 else None, nn.ReLU()))
            c_in = 4 * c
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c_in, classes))


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x):
        split = lambda y: y.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [batch, heads, tokens, width/heads]
        query, key, value = split(self.query(x)), split(self.key(x)), split(self.value(x))
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
        return self.out((torch.softmax(scores, -1) @ value).transpose(1, 2).flatten(2))


class Encoder(nn.Module):
    def __init__(self, layers, width, heads, inner, vocabulary, tokens, classes):
        super().__init__()
        norm = lambda: nn.LayerNorm(width, eps=1e-12)
        self.words, self.types = nn.Embedding(vocabulary, width), nn.Embedding(2, width)
        self.positions, self.norm = nn.Parameter(torch.randn(tokens, width) * 0.02), norm()
        inside = lambda: nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))
        parts = [nn.Sequential(Residual(part), norm()) for _ in range(layers) for part in (Attention(width, heads), inside())]
        self.layers, self.classifier = nn.Sequential(*parts), nn.Linear(width, classes)

    def forward(self, ids):
        x = self.norm(self.words(ids) + self.types(torch.zeros_like(ids)) + self.positions)
        return self.classifier(self.layers(x).mean(1))


def subject(spec, batch):
    spec = dict(spec)
    name = spec.pop("name")
    if name in ("encoder", "bert"):
        return (Encoder if name == "encoder" else bert)(**spec), torch.randint(spec["vocabulary"], (batch, spec["tokens"]))
    model = {"mobilenet-v2": mobilenet_v2, "resnet-50": resnet_50}[name](spec["classes"])
    return model, torch.rand(batch, 3, spec["size"], spec["size"])


def bert(layers, width, heads, inner, vocabulary, tokens, classes):
    """The classifier of Hugging Face transformers, without dropout, with attention as it chooses (PyTorch's fused one)."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=inner,
        vocab_size=vocabulary,
        max_position_embeddings=tokens,
        num_labels=classes,
        hidden_dropout_prob=0,
        attention_probs_dropout_prob=0,
    )
    return BertForSequenceClassification(config).train()


def loss_of(model, x, y):
    if hasattr(model, "config"):
        return model(input_ids=x, attention_mask=torch.ones_like(x), labels=y).loss
    return nn.functional.cross_entropy(model(x), y)


def main():
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "compare" / "peers"))
    from memory import kept_bytes  # here: other programs import this file alone, without that folder beside it

    parser = argparse.ArgumentParser()
    parser.add_argument("--serve", required=True, help="model and batch, as side-by-side.ts gives them")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(17)
    experiment = json.loads(args.serve)
    model, x = subject(experiment["model"], experiment["batch"])
    y = torch.randint(experiment["model"]["classes"], (experiment["batch"],))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    kept = kept_bytes(lambda: loss_of(model, x, y).backward(), [*model.parameters(), *model.buffers(), x, y])
    print(json.dumps({"keptBytes": kept, **versions}), flush=True)
    for _ in sys.stdin:
        start = time.perf_counter(), time.process_time()
        optimizer.zero_grad()
        loss_of(model, x, y).backward()
        optimizer.step()
        passed, processor = (1e3 * (now - then) for now, then in zip((time.perf_counter(), time.process_time()), start))
        print(json.dumps({"milliseconds": passed, "processorMilliseconds": processor}), flush=True)


if __name__ == "__main__":
    main()
