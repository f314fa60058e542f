"""How far results are from those of the eager module in float64, as parts of the bound in docs/semantics.md."""
import math

import torch

UNIT = 2.0**-24
# u_out, and half the distance of the type's smallest numbers.
OUTPUT_UNITS = {torch.float32: (UNIT, 0.0), torch.float16: (2.0**-11, 2.0**-25), torch.bfloat16: (2.0**-8, 0.0)}
TF32_UNIT = 2.0**-11


class Agreement:
    """The reference of a contest: the same module in float64, one picture of the batch at a time."""

    def __init__(self, contest, fast):
        row, choices = contest.row, contest.choices
        self.contest = contest
        self.reference = contest.make_module()
        self.reference.load_state_dict(contest.module.state_dict())
        self.reference = self.reference.to(choices.device, torch.float64)
        tf32 = fast and choices.device == "cuda"
        self.sum_unit = (160 if fast else 16) * UNIT
        self.input_unit = 8 * TF32_UNIT if tf32 else 0.0
        self.output_unit, self.smallest = OUTPUT_UNITS[choices.dtype]
        self.flow_unit = self.sum_unit + (self.output_unit if self.output_unit > UNIT else 0)
        self.aside = (1, -1, *[1] * row.dims)  # the shape of a number for each channel

    def worst(self, names):
        """By contender, of results and gradients alike. Infinity where something is not a number."""
        contenders = {name: self.contest.contenders[name] for name in names if name in self.contest.contenders}
        return self.compare({name: contender(0) for name, contender in contenders.items()})

    def compare(self, results):
        worst = dict.fromkeys(results, 0.0)

        def judge(k, expected, bound, n=None):
            for name, got in results.items():
                mine = got[k] if n is None else got[k][n:n + 1]
                worst[name] = max(worst[name], part_of(bound, (mine.double() - expected).abs()))

        totals = {}
        for n in range(self.contest.row.batch):
            inputs = self.picture(n)
            judge(0, *self.output(inputs), n)
            for k, (gradient, terms) in enumerate(self.gradients(inputs), 1):
                if k == 1:
                    bound = self.gradient_bound(gradient, terms)
                    judge(k, gradient, bound if inputs["mask"] is None else bound * inputs["mask"], n)
                else:
                    totals[k] = [a + b for a, b in zip(totals[k], (gradient, *terms))] if n else (gradient, *terms)
        for k, (gradient, *terms) in totals.items():
            judge(k, gradient, self.gradient_bound(gradient, terms))
        return worst

    def picture(self, n):
        sets = self.contest.sets[0]
        of = lambda t: None if t is None else t[n:n + 1].double().contiguous()
        x, mask, grad = of(sets.x), of(sets.mask), of(sets.grad)
        with torch.no_grad():
            ratio, updated = self.reference.mask_side_without_mask(x) if mask is None else self.reference.mask_side(mask)
        gain = ratio if self.reference.bias is None else ratio * updated
        return {"x": x, "mask": mask, "grad": grad, "gain": gain, "updated": updated,
                "kept": x if mask is None else x * mask}

    def convolve(self, x, weight):
        r = self.reference
        return r.convolve(x, weight, None, r.stride, r.padding, r.dilation, r.groups)

    def output(self, inputs):
        """Expected values and their bounds."""
        weight, bias = self.reference.weight, self.reference.bias
        with torch.no_grad():
            y = self.reference(inputs["x"], inputs["mask"])
            sums = self.sum_unit * self.convolve(inputs["kept"].abs(), weight.abs())
            if self.input_unit:
                sums += self.input_unit * self.convolve(inputs["kept"]**2, weight**2).sqrt()
            offset = 0 if bias is None else bias.abs().view(self.aside)
            bound = inputs["gain"] * sums + 4 * UNIT * (y.abs() + offset) + self.output_unit * y.abs() + self.smallest
            return y, torch.where(inputs["gain"] == 0, torch.zeros_like(bound), bound)

    def gradients(self, inputs):
        """Of input, weight and bias: expected values, and the sums of their terms' magnitudes and squares."""
        if inputs["grad"] is None:
            return []
        weight, bias = self.reference.weight, self.reference.bias
        x = inputs["x"].detach().requires_grad_()
        wanted = [x, weight] + ([] if bias is None else [bias])
        gradients = torch.autograd.grad(self.reference(x, inputs["mask"]), wanted, inputs["grad"])
        flow = (inputs["grad"] * inputs["gain"]).abs()
        terms = list(zip(self.transposed(inputs["kept"], flow, 1), self.transposed(inputs["kept"], flow, 2)))
        if bias is not None:
            valid = (inputs["grad"] * inputs["updated"]).abs().transpose(0, 1).flatten(1)
            terms.append((valid.sum(1), torch.zeros_like(bias)))
        return list(zip(gradients, terms))

    def transposed(self, kept, flow, power):
        x, weight = (t.detach().abs().pow(power).requires_grad_() for t in (kept, self.reference.weight))
        return torch.autograd.grad(self.convolve(x, weight), (x, weight), flow**power)

    def gradient_bound(self, gradient, terms):
        magnitudes, squares = terms
        return (self.flow_unit * magnitudes + self.input_unit * squares.sqrt() + self.output_unit * gradient.abs()
                + self.smallest)


def part_of(bound, error):
    part = torch.where(error == 0, torch.zeros_like(error), error / bound)
    return math.inf if torch.isnan(part).any() else part.max().item()
