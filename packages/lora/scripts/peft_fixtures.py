"""Adapters of real peft, with what they compute, for packages/lora/test/peft.test.ts; and the way back.

    python3 packages/lora/scripts/peft_fixtures.py make              # writes packages/lora/test/fixtures/peft.json
    python3 packages/lora/scripts/peft_fixtures.py check FOLDER      # loads what exportPeft wrote there, and compares outputs

Needs torch, peft and safetensors. FOLDER holds a folder per case with adapter_config.json, adapter_model.safetensors and output.json.
"""
import base64
import json
import pathlib
import sys
import tempfile

import peft
import torch
from torch import nn

FIXTURES = pathlib.Path(__file__).parent.parent / "test" / "fixtures" / "peft.json"
RATE = 0.5


class Image(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.point = nn.Conv2d(4, 6, 1)
        self.fc1 = nn.Linear(6, 5)
        self.fc2 = nn.Linear(5, 4)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        h = torch.relu(self.conv(x))
        h = torch.tanh(self.point(h)).mean(dim=(2, 3))
        return self.head(torch.tanh(self.fc2(torch.tanh(self.fc1(h)))))


class Text(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(11, 6)
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(self.emb(x).mean(dim=1))


CASES = {
    "linear": (Image, dict(r=3, lora_alpha=6, target_modules=["fc1", "fc2"], rank_pattern={"fc2": 2}, alpha_pattern={"fc2": 5}, modules_to_save=["head"])),
    "conv": (Image, dict(r=2, lora_alpha=4, target_modules=["conv", "point", "fc1"], use_rslora=True)),
    "dora": (Image, dict(r=2, lora_alpha=4, target_modules=["conv", "point", "fc1", "head"], use_dora=True)),
    "embedding": (Text, dict(r=2, lora_alpha=4, target_modules=["emb", "fc"])),
    "dora-embedding": (Text, dict(r=2, lora_alpha=4, target_modules=["emb", "fc"], use_dora=True)),
}


MODULES = [
    "encoder.layer.0.attention.self.query",
    "encoder.layer.1.attention.self.query",
    "encoder.layer.1.attention.self.value",
    "encoder.layer.1.output.dense",
    "encoder.layer.11.output.dense",
    "decoder.blocks.1.query",
    "query",
    "subquery",
    "classifier.dense",
    "classifier.out_proj",
]
TARGETS = [
    dict(target_modules=["query"]),
    dict(target_modules=["query", "output.dense"], exclude_modules=["self.query"]),
    dict(target_modules=["dense"], exclude_modules=r"classifier\..*"),
    dict(target_modules=r".*\.(query|value)"),
    dict(target_modules="query"),
    dict(target_modules=["query", "dense"], layers_to_transform=[1]),
    dict(target_modules=["query", "dense"], layers_to_transform=1, layers_pattern="layer"),
    dict(target_modules=["query", "dense"], layers_to_transform=[1, 11], layers_pattern=["blocks", "layer"]),
    dict(target_modules=["dense", "out_proj"], modules_to_save=["classifier"]),
]


def targets():
    from peft.tuners.tuners_utils import check_target_module_exists, _ExcludedModule

    def is_target(config, name):
        found = check_target_module_exists(config, name)
        return bool(found) and not isinstance(found, _ExcludedModule)

    return [{"config": fields, "modules": [name for name in MODULES if is_target(peft.LoraConfig(**fields), name)]} for fields in TARGETS]


def base_of(model_class):
    torch.manual_seed(1)
    return model_class()


def input_of(model_class):
    torch.manual_seed(2)
    return torch.randn(3, 2, 5, 5) if model_class is Image else torch.randint(0, 11, (3, 4))


def loss_of(y):
    return (y * y).mean()


def saved(model):
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        path = pathlib.Path(folder)
        weights = base64.b64encode((path / "adapter_model.safetensors").read_bytes()).decode()
        return {"config": (path / "adapter_config.json").read_text(), "weights": weights}


def numbers(t):
    return {"shape": list(t.shape), "data": t.detach().flatten().tolist()}


def make():
    cases = {}
    for name, (model_class, config) in CASES.items():
        base = base_of(model_class)
        state = {key: numbers(value) for key, value in base.state_dict().items()}
        x = input_of(model_class)
        plain = base(x)
        model = peft.get_peft_model(base, peft.LoraConfig(**config))
        torch.manual_seed(3)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data += 0.3 * torch.randn_like(parameter)
        before = saved(model)
        y = model(x)
        loss_of(y).backward()
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.data -= RATE * parameter.grad
        cases[name] = {"base": state, "x": numbers(x.float()), "plain": numbers(plain), "files": before, "y": numbers(y), "after": saved(model), "yAfter": numbers(model(x))}
        assert torch.allclose(model.merge_and_unload()(x), torch.tensor(cases[name]["yAfter"]["data"]).reshape(y.shape), atol=1e-5)
    FIXTURES.write_text(json.dumps({"versions": {"peft": peft.__version__, "torch": torch.__version__}, "rate": RATE, "modules": MODULES, "targets": targets(), "cases": cases}) + "\n")


def check(folder):
    for case in sorted(pathlib.Path(folder).iterdir()):
        model_class, _ = CASES[case.name.split("@")[0]]
        model = peft.PeftModel.from_pretrained(base_of(model_class), str(case))
        got = model(input_of(model_class)).detach().flatten()
        wanted = torch.tensor(json.loads((case / "output.json").read_text()))
        error = (got - wanted).abs().max().item()
        assert error < 1e-5, (case.name, error)
        print(f"{case.name}: peft {peft.__version__} computes the same, within {error:.1e}")


if __name__ == "__main__":
    make() if sys.argv[1:] == ["make"] else check(sys.argv[2])
