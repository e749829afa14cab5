"""What full fine-tuning holds in PyTorch: a BERT encoder of MiniLM's shape, and ResNet-50.

    python benchmarks/s2a/pytorch.py [--batch 16] [--write]

Kept and peak are those of benchmarks/compare/peers/memory.py, of forward and backward, gradients included.
The encoder is that of benchmarks/models/encoder.ts, without dropout, with attention written out (eager) and as PyTorch fuses it (sdpa).
"""

import argparse
import importlib.util
import json
import pathlib
import sys

import torch
from torch import nn

HERE = pathlib.Path(__file__).parent
SPEC = importlib.util.spec_from_file_location("convbn", HERE.parent / "convbn" / "pytorch.py")
CONVBN = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(CONVBN)
sys.path.insert(0, str(HERE.parent / "compare" / "peers"))
from memory import kept_bytes, peak_bytes  # noqa: E402


class Layer(nn.Module):
    def __init__(self, width, heads, inner, fused):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width, eps=1e-12)

    def forward(self, x):
        n, t, d = x.shape
        q, k, v = (f(x).view(n, t, self.heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        if self.fused:
            mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        else:
            scores = q @ k.transpose(-1, -2) / (d // self.heads) ** 0.5
            mixed = scores.softmax(-1) @ v
        x = self.norm1(x + self.o(mixed.transpose(1, 2).reshape(n, t, d)))
        return self.norm2(x + self.down(nn.functional.gelu(self.up(x))))


class Encoder(nn.Module):
    def __init__(self, fused, layers=6, width=384, heads=12, inner=1536, vocabulary=1000, tokens=128, classes=6):
        super().__init__()
        self.words, self.positions = nn.Embedding(vocabulary, width), nn.Parameter(torch.randn(tokens, width) * 0.02)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.layers = nn.Sequential(*[Layer(width, heads, inner, fused) for _ in range(layers)])
        self.classifier = nn.Linear(width, classes)

    def forward(self, ids):
        return self.classifier(self.layers(self.norm(self.words(ids) + self.positions)).mean(1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    images = (torch.randn(args.batch, 3, 96, 96), torch.randint(10, (args.batch,)))
    texts = (torch.randint(1000, (args.batch, 128)), torch.randint(6, (args.batch,)))
    subjects = {
        "encoder, eager": (Encoder(False), texts),
        "encoder, sdpa": (Encoder(True), texts),
        "resnet-50": (CONVBN.resnet50(10, False), images),
    }
    rows = []
    for name, (model, (x, y)) in subjects.items():

        def step():
            model.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(model(x), y).backward()

        kept = kept_bytes(step, [*model.parameters(), *model.buffers(), x, y])
        model.zero_grad(set_to_none=True)
        rows.append({"model": name, "keptBytes": kept, "peakAboveWeights": peak_bytes(step)})
        print(rows[-1])
    result = {"batch": args.batch, "torch": torch.__version__, "rows": rows}
    if args.write:
        (HERE / "results" / "pytorch.json").write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
