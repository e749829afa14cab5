"""What peft's LoRA costs in PyTorch on the models, batches and targets of adapters.ts: bytes kept for backward, and the peak.

    python3 benchmarks/lowrank/pytorch.py [--rank 8] [--write]

Kept: all distinct storages that autograd saves (saved_tensors_hooks), without those of parameters, buffers and inputs. Peak: the
largest sum of what the CPU allocator hands out and takes back during forward and backward (torch.profiler), so without the weights.
Models have the checkpoints' shapes and random weights, on which bytes do not depend. Attention is PyTorch's default (sdpa), dropout is 0.
"""

import argparse
import json
import pathlib

import peft
import torch
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM


def minilm():
    config = BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536, num_labels=20, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    model = BertForSequenceClassification(config)
    batch = {"input_ids": torch.randint(1, 30000, (8, 128)), "attention_mask": torch.ones(8, 128, dtype=torch.long), "labels": torch.arange(8)}
    return model, batch, r".*encoder\.layer\.\d+\..*(query|key|value|dense)"


def stories():
    config = LlamaConfig(vocab_size=32000, hidden_size=288, intermediate_size=768, num_hidden_layers=6, num_attention_heads=6, max_position_embeddings=256, tie_word_embeddings=True)
    model = LlamaForCausalLM(config)
    ids = torch.randint(1, 32000, (4, 256))
    return model, {"input_ids": ids, "labels": ids}, r".*layers\.\d+\..*_proj"


def kept_bytes(model, batch):
    own = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers(), *batch.values()]}
    saved = {}

    def pack(t):
        storage = t.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss = model(**batch).loss
    total = sum(saved.values())
    loss.backward()
    model.zero_grad(set_to_none=True)
    return total


def peak_bytes(model, batch):
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        model(**batch).loss.backward()
    model.zero_grad(set_to_none=True)
    now = peak = 0
    for event in sorted((e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    rows = []
    for name, make in {"minilm": minilm, "stories15M": stories}.items():
        model, batch, targets = make()
        tuned = peft.get_peft_model(model, peft.LoraConfig(r=options.rank, lora_alpha=options.rank, target_modules=targets))
        tuned.train()
        kept = kept_bytes(tuned, batch)
        rows.append({"model": name, "trainable": sum(p.numel() for p in tuned.parameters() if p.requires_grad), "keptBytes": kept, "peakAboveWeights": peak_bytes(tuned, batch)})
        print(rows[-1])
    if options.write:
        result = {"torch": torch.__version__, "peft": peft.__version__, "rank": options.rank, "rows": rows}
        (pathlib.Path(__file__).parent / "results" / "pytorch.json").write_text(json.dumps(result, indent=2) + "\n")
