"""Spoken commands as audio: espeak-ng speaks them in many voices; noise, volume and position vary."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np

from deploy.errors import InputError
from examples.speech.features import RATE, SAMPLES, Array

LABELS = ("yes", "no", "up", "down", "left", "right", "stop", "go")
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-029")
SPEAKERS = tuple(
    """
    m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 Alex Alicia Andrea Andy Annie Denis Diogo Gene Henrique Hugo Jacky Lee Marco
    Mario Michael Mike Nguyen Tweaky adam anika announcer antonio aunty belinda benjamin boris caleb david ed edward
    grandma grandpa gustave iven john kaukovalta linda marcelo max michel miguel norbert pablo paul pedro quincy rob
    robert sandro shelby steph travis victor zac
    """.split()  # noqa: SIM905
)
"""espeak-ng's voice variants, but for robots and whispers, one of each family."""
HELD_OUT = SPEAKERS[::5]
"""Speakers that the model is never trained on: every fifth."""


def speak(word: str, accent: str, speaker: str, speed: int, pitch: int) -> Array:
    """One word as audio at 16 kHz, without the silence around it.

    ``speed`` in words a minute (80-450), ``pitch`` from 0 to 99. Raises InputError when espeak-ng is not installed.
    """
    from scipy.signal import resample_poly

    program = shutil.which("espeak-ng")
    if program is None:
        raise InputError("espeak-ng is not installed", where="examples.speech", fix="apt-get install espeak-ng")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "word.wav")
        voice = ["-v", f"{accent}+{speaker}", "-s", str(speed), "-p", str(pitch)]
        subprocess.run([program, *voice, "-w", str(path), word], check=True, capture_output=True)
        with wave.open(str(path)) as stream:
            rate = stream.getframerate()
            audio = np.frombuffer(stream.readframes(stream.getnframes()), "<i2") / 32768.0
    audio = resample_poly(audio, RATE, rate)
    loud = np.flatnonzero(np.abs(audio) > 0.02 * np.abs(audio).max())
    return np.asarray(audio[loud[0] : loud[-1] + 1], np.float32)


def clip(word: Array, rng: np.random.Generator) -> Array:
    """The word at a random place and volume of a 1.03 s clip, in noise 12 to 35 dB below it, between white and pink."""
    word = word[: SAMPLES - 400]
    start = int(rng.integers(0, min(3200, SAMPLES - len(word)) + 1))
    audio = np.zeros(SAMPLES)
    audio[start : start + len(word)] = word
    spectrum = np.fft.rfft(rng.normal(size=SAMPLES))
    spectrum *= np.maximum(np.arange(len(spectrum)), 20.0) ** -rng.uniform(0.0, 0.5)
    noise = np.fft.irfft(spectrum, SAMPLES)
    level = np.sqrt(np.mean(word.astype(np.float64) ** 2) / np.mean(noise**2)) * 10 ** (-rng.uniform(12, 35) / 20)
    return np.asarray((audio + level * noise) * 10 ** rng.uniform(-1.0, 0.0), np.float32)


def words(speakers: tuple[str, ...], takes: int, rng: np.random.Generator) -> tuple[list[Array], list[int]]:
    """Every command by every speaker, ``takes`` times in another accent, speed and pitch each; and the labels."""
    audio, labels = [], []
    for speaker in speakers:
        for _ in range(takes):
            for label, word in enumerate(LABELS):
                speed, pitch = int(rng.integers(110, 240)), int(rng.integers(20, 80))
                audio.append(speak(word, str(rng.choice(ACCENTS)), speaker, speed, pitch))
                labels.append(label)
    return audio, labels
