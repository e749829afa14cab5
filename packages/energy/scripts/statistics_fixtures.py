"""What scipy, statsmodels and mpmath say to the statistics of this package, for test/statistics.test.ts.

    pip install scipy statsmodels pandas mpmath
    python3 packages/energy/scripts/statistics_fixtures.py     # writes packages/energy/test/fixtures/statistics.json

Tails are computed with 40 digits by mpmath: scipy loses some in the far tail.
"""
import itertools
import json
import math
import pathlib
import random

import mpmath
import pandas
import scipy
import statsmodels
from scipy import special, stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests

FIXTURES = pathlib.Path(__file__).parent.parent / "test" / "fixtures" / "statistics.json"
mpmath.mp.dps = 40
random.seed(20240912)


def t_tails(t, df):
    t, df = mpmath.mpf(t), mpmath.mpf(df)
    return float(mpmath.betainc(df / 2, mpmath.mpf(1) / 2, 0, df / (df + t * t), regularized=True))


def f_tail(f, d1, d2):
    f, d1, d2 = map(mpmath.mpf, (f, d1, d2))
    return float(mpmath.betainc(d2 / 2, d1 / 2, 0, d2 / (d2 + d1 * f), regularized=True))


def sample(n, mean, sd):
    return [round(random.gauss(mean, sd), 3) for _ in range(n)]


def welch(a, b):
    test = stats.ttest_ind(a, b, equal_var=False)
    low, high = test.confidence_interval(0.95)
    pooled = math.sqrt(((len(a) - 1) * stats.tvar(a) + (len(b) - 1) * stats.tvar(b)) / (len(a) + len(b) - 2))
    d = (sum(a) / len(a) - sum(b) / len(b)) / pooled
    df = len(a) + len(b) - 2
    exact = math.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / math.sqrt(df / 2)
    return {"first": a, "second": b, "t": test.statistic, "df": test.df, "p": test.pvalue, "interval": [low, high], "d": d, "g": d * exact}


def one_way(groups):
    frame = pandas.DataFrame([{"g": str(i), "y": y} for i, group in enumerate(groups) for y in group])
    table = anova_lm(ols("y ~ C(g)", frame).fit())
    between, within = table.loc["C(g)"], table.loc["Residual"]
    total, noise = between["sum_sq"] + within["sum_sq"], within["mean_sq"]
    scipy_test = stats.f_oneway(*groups)
    assert math.isclose(scipy_test.statistic, between["F"], rel_tol=1e-9)
    return {
        "groups": groups, "squares": between["sum_sq"], "df": between["df"], "f": between["F"], "p": scipy_test.pvalue,
        "error": {"squares": within["sum_sq"], "df": within["df"]},
        "etaSquared": between["sum_sq"] / total,
        "omegaSquared": (between["sum_sq"] - between["df"] * noise) / (total + noise),
    }


def factorial(levels, repeats, order):
    """A balanced experiment; typ=3 with sum contrasts, so that the order of factors cannot matter."""
    factors = list(levels)
    runs = [dict(zip(factors, cell)) for cell in itertools.product(*levels.values()) for _ in range(repeats)]
    for run in runs:
        run["y"] = round(100 + sum(7 * levels[f].index(run[f]) for f in factors) + (9 if run[factors[0]] == levels[factors[0]][0] and run[factors[1]] == levels[factors[1]][-1] else 0) + random.gauss(0, 5), 3)
    frame = pandas.DataFrame(runs)
    names = [c for size in range(1, order + 1) for c in itertools.combinations(factors, size)]
    formula = "y ~ " + " + ".join(":".join(f"C({f}, Sum)" for f in c) for c in names)
    table = anova_lm(ols(formula, frame).fit(), typ=3)
    effects = {" × ".join(c): table.loc[":".join(f"C({f}, Sum)" for f in c)] for c in names}
    return {
        "factors": factors, "order": order,
        "observations": [{"levels": {f: run[f] for f in factors}, "value": run["y"]} for run in runs],
        "effects": {name: {"squares": row["sum_sq"], "df": row["df"], "f": row["F"], "p": row["PR(>F)"]} for name, row in effects.items()},
        "error": {"squares": table.loc["Residual"]["sum_sq"], "df": table.loc["Residual"]["df"]},
    }


def summary(values, confidence):
    low, high = stats.t.interval(confidence, len(values) - 1, sum(values) / len(values), stats.sem(values))
    return {"values": values, "confidence": confidence, "mean": sum(values) / len(values), "sd": stats.tstd(values), "interval": [low, high]}


p_values = [[0.01, 0.04, 0.03, 0.005], [0.2, 0.2, 0.9], [1e-12, 0.5, 0.011, 0.049, 0.049, 1.0], [0.03]]
FIXTURES.parent.mkdir(exist_ok=True)
FIXTURES.write_text(json.dumps({
    "made": {"scipy": scipy.__version__, "statsmodels": statsmodels.__version__, "mpmath": mpmath.__version__},
    "tTails": [[t, df, t_tails(t, df)] for df in (1, 1.5, 4.37, 8, 17.3, 100, 1000) for t in (0, 1e-3, 0.5, 1, 2.5, 10, 100)],
    "fTail": [[f, a, b, f_tail(f, a, b)] for a, b in ((1, 3), (2, 9), (3, 16), (6, 100), (9, 1000)) for f in (0, 1e-3, 0.5, 1, 4, 50, 2000)],
    "tCritical": [[c, df, float(-stats.t.ppf((1 - c) / 2, df))] for c in (0.5, 0.9, 0.95, 0.999999) for df in (1, 2.7, 9, 31.4, 2000)],
    "summaries": [summary(sample(10, 61.2, 1.5), 0.95), summary(sample(3, 1e6, 1e-2), 0.99), summary([4.0, 4.0, 4.5], 0.9)],
    "welch": [welch(sample(10, 101, 2), sample(10, 99, 2)), welch(sample(2, 5, 1), sample(7, 6, 3)), welch(sample(30, 1, 1e-3), sample(12, 1.4, 0.2))],
    "oneWay": [one_way([sample(5, 10, 1), sample(5, 11, 1), sample(5, 10.5, 1)]), one_way([sample(3, 1, 2), sample(8, 1, 2)]), one_way([sample(n, n, 3) for n in (4, 1, 9, 6)])],
    "factorial": [
        factorial({"precision": ["float32", "mixed_float16"], "batch": [16, 32, 64]}, 5, 2),
        factorial({"batch": [8, 32, 128], "neurons": [64, 256], "epochs": [2, 4]}, 3, 3),
        factorial({"batch": [8, 32], "neurons": [64, 256, 512], "epochs": [2, 4, 8]}, 1, 2),
    ],
    "holm": [{"p": p, "corrected": list(multipletests(p, method="holm")[1])} for p in p_values],
}, indent=1, default=float) + "\n")
