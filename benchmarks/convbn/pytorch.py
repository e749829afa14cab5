"""What PyTorch keeps for backward in ResNet-50: Eval mode, and Tune mode, eager and compiled.

    python benchmarks/convbn/pytorch.py [--size 96] [--batch 16] [--write]

Kept is that of benchmarks/compare/peers/memory.py.
"Tune" runs PyTorch's own function of two modules (torch/_inductor/fx_passes/efficient_conv_bn_eval.py) without the compiler; "Tune,
compiled" is the compiler's pass over the plain model, torch._inductor.config.efficient_conv_bn_eval_fx_passes, which says how many
pairs it found. The compiler needs a C++ compiler, and minutes. The model is that of benchmarks/models/resnet-50.ts: stride in the
first convolution of a block, biases everywhere.
"""

import argparse
import json
import pathlib
import sys

import torch
from torch import nn
from torch._dynamo.utils import counters
from torch._inductor import config
from torch._inductor.fx_passes.efficient_conv_bn_eval import efficient_conv_bn_eval

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "compare" / "peers"))
from memory import kept_bytes  # noqa: E402


class ConvBn(nn.Module):
    def __init__(self, c_in, c_out, size, stride, tune):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, size, stride, padding=size // 2)
        self.bn = nn.BatchNorm2d(c_out, eps=1.001e-5)
        self.tune = tune

    def forward(self, x):
        return efficient_conv_bn_eval(self.bn, self.conv, x) if self.tune else self.bn(self.conv(x))


class Bottleneck(nn.Module):
    def __init__(self, c_in, c, stride, project, tune):
        super().__init__()
        self.shortcut = ConvBn(c_in, 4 * c, 1, stride, tune) if project else nn.Identity()
        self.layers = nn.ModuleList(
            [ConvBn(c_in, c, 1, stride, tune), ConvBn(c, c, 3, 1, tune), ConvBn(c, 4 * c, 1, 1, tune)]
        )

    def forward(self, x):
        y = torch.relu(self.layers[0](x))
        y = torch.relu(self.layers[1](y))
        return torch.relu(self.layers[2](y) + self.shortcut(x))


def resnet50(classes, tune):
    blocks, c_in = [], 64
    for stage, (c, count) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)]):
        for i in range(count):
            stride = 2 if i == 0 and stage > 0 else 1
            blocks.append(Bottleneck(c_in, c, stride, i == 0, tune))
            c_in = 4 * c
    stem = [ConvBn(3, 64, 7, 2, tune), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c_in, classes))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    torch.compiler.config.force_disable_caches = True  # what comes from the cache is not counted
    rows = []
    for mode in ["Train", "Eval", "Tune", "Eval, compiled", "Tune, compiled"]:
        tune, compiled = mode.startswith("Tune"), mode.endswith("compiled")
        torch.manual_seed(17)
        model = resnet50(10, tune and not compiled).train(mode == "Train")
        x, y = torch.randn(args.batch, 3, args.size, args.size), torch.randint(10, (args.batch,))
        if compiled:
            torch._dynamo.reset()
            counters.clear()
            config.efficient_conv_bn_eval_fx_passes = tune
            model = torch.compile(model)
        losses = []

        def step():
            loss = nn.functional.cross_entropy(model(x), y)
            loss.backward()
            losses.append(loss.item())

        kept = kept_bytes(step, [*model.parameters(), *model.buffers(), x, y])
        row = {"mode": mode, "keptBytes": kept, "loss": losses[0]}
        if compiled:
            row["pairs"] = counters["inductor"]["efficient_conv_bn_eval"]
        rows.append(row)
        print(row, flush=True)
    if args.write:
        result = {"model": {"name": "resnet-50", "size": args.size}, "batch": args.batch, "torch": torch.__version__, "rows": rows}
        path = pathlib.Path(__file__).parent / "results" / f"pytorch-{args.size}.json"
        path.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
