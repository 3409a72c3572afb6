# CPU only: docker build -t clash . && docker run --rm clash
FROM python:3.12-slim
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir "torch>=2.9" "torchvision>=0.24" --index-url https://download.pytorch.org/whl/cpu \
 && pip install --no-cache-dir --only-binary :all: --requirement requirements.txt
COPY . .
ENV HOME=/tmp
ENTRYPOINT ["python"]
CMD ["digits.py", "--out", "/tmp/digits"]
