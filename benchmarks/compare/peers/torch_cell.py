"""A cell of PyTorch: one model, trained in full or in part, with checkpoints, or with an adapter of peft.

    python torch_cell.py '<job as JSON>'        prints one line of JSON

Transformers are those of Hugging Face with PyTorch's fused attention and no dropout; the convolutional networks those of
benchmarks/pytorch/train_step.py. Batch norms whose weights do not train use their statistics, as under LeanTune. SGD, float32, eager.
"""

import importlib.util
import json
import math
import pathlib
import platform
import re
import sys

import torch
from memory import kept_bytes, milliseconds, peak_bytes
from torch import nn
from torch.utils.checkpoint import checkpoint_sequential

RANK = 8


def convolutional(spec, batch):
    path = pathlib.Path(__file__).parents[2] / "pytorch" / "train_step.py"
    module_spec = importlib.util.spec_from_file_location("train_step", path)
    models = importlib.util.module_from_spec(module_spec)
    module_spec.loader.exec_module(models)
    if spec.pop("width") != 1:
        raise NotImplementedError("PyTorch's copies of the convolutional networks have width 1 only")
    model, x = models.subject(spec, batch)
    return model, {"x": x, "labels": torch.randint(spec["classes"], (batch,))}


def transformer(spec, batch):
    import transformers

    sizes = dict(hidden_size=spec["width"], num_hidden_layers=spec["layers"], num_attention_heads=spec["heads"], intermediate_size=spec["inner"])
    dry = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    if spec["name"] == "vit":
        config = transformers.ViTConfig(**sizes, **dry, image_size=spec["size"], patch_size=spec["patch"], num_labels=spec["classes"])
        images = torch.rand(batch, 3, spec["size"], spec["size"])
        return transformers.ViTForImageClassification(config), {"pixel_values": images, "labels": torch.randint(spec["classes"], (batch,))}
    ids = torch.randint(spec["vocabulary"], (batch, spec["tokens"]))
    if spec["name"] == "decoder":
        config = transformers.LlamaConfig(**sizes, vocab_size=spec["vocabulary"], max_position_embeddings=spec["tokens"], tie_word_embeddings=True)
        return transformers.LlamaForCausalLM(config), {"input_ids": ids, "labels": ids}
    config = transformers.BertConfig(**sizes, **dry, vocab_size=spec["vocabulary"], max_position_embeddings=spec["tokens"], num_labels=spec["classes"])
    return transformers.BertForSequenceClassification(config), {"input_ids": ids, "labels": torch.randint(spec["classes"], (batch,))}


def head_of(model):
    return model[-1] if isinstance(model, nn.Sequential) else getattr(model, "classifier", None)


def adapted(model):
    """Names of the linear layers inside of blocks, and of the convolutions that are not depthwise."""
    names = []
    for name, module in model.named_modules():
        inside = isinstance(module, nn.Linear) and re.search(r"layers?\.\d+\.", name)
        if inside or (isinstance(module, nn.Conv2d) and module.groups == 1 and isinstance(model, nn.Sequential)):
            names.append(name)
    return names


def with_adapter(model, kind):
    import peft

    extra = {"lora": {}, "dora": {"use_dora": True}}.get(kind)
    if kind == "velora":
        extra = {"velora_config": peft.VeloraConfig()}
    config = peft.LoraConfig(r=RANK, lora_alpha=RANK, target_modules="|".join(map(re.escape, adapted(model))), **extra)
    head, tuned = head_of(model), peft.get_peft_model(model, config)
    for p in head.parameters() if head else []:
        p.requires_grad_(True)
    return tuned


def prepare(model, words):
    """The model as the method trains it."""
    head = head_of(model)
    kind = next((word for word in words if word in ("lora", "dora", "velora")), None)
    if "head" in words or "biases" in words:
        if head is None:
            raise NotImplementedError("the model has no head of its own")
        trained = {id(p) for p in head.parameters()}
        trained |= {id(p) for name, p in model.named_parameters() if "biases" in words and name.endswith("bias")}
        for p in model.parameters():
            p.requires_grad_(id(p) in trained)
    if "checkpoint" in words and not isinstance(model, nn.Sequential):
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if kind:
            model.enable_input_require_grads()
    model.train()
    tuned = with_adapter(model, kind) if kind else model
    for module in tuned.modules():
        if isinstance(module, nn.BatchNorm2d) and not any(p.requires_grad for p in module.parameters()):
            module.eval()
    return tuned


def main():
    job = json.loads(sys.argv[1])
    spec, words = dict(job["spec"]), job["cell"]["method"].split(" + ")
    torch.manual_seed(job["seed"])
    torch.set_num_threads(job["threads"])
    build = convolutional if spec["name"] in ("mobilenet-v2", "resnet-50") else transformer
    model, batch = build(spec, job["batch"])
    parameters = sum(p.numel() for p in model.parameters())
    tuned = prepare(model, words)
    trained = [p for p in tuned.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-4)
    segments = math.isqrt(len(model)) if isinstance(model, nn.Sequential) and "checkpoint" in words else 0

    def forward():
        if "x" not in batch:
            return tuned(**batch).loss
        run = tuned.base_model.model if hasattr(tuned, "base_model") else tuned
        logits = checkpoint_sequential(run, segments, batch["x"], use_reentrant=False) if segments else run(batch["x"])
        return nn.functional.cross_entropy(logits, batch["labels"])

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled="bfloat16" in words):
            loss = forward()
        loss.backward()
        optimizer.step()
        return loss.item()

    loss = step()
    optimizer.zero_grad(set_to_none=True)
    kept = kept_bytes(step, [*tuned.parameters(), *tuned.buffers(), *batch.values()])
    optimizer.zero_grad(set_to_none=True)
    figures = {"peakAboveWeights": peak_bytes(step), "keptBytes": None if "checkpoint" in words else kept, "parameters": parameters, "trained": sum(p.numel() for p in trained)}
    versions = {"torch": torch.__version__.split("+")[0], "python": platform.python_version()}
    for name in ("transformers", "peft"):
        if name in sys.modules:
            versions[name] = sys.modules[name].__version__
    print(json.dumps({**figures, **milliseconds(step, job["steps"]), "loss": loss, "versions": versions}))


if __name__ == "__main__":
    main()
