{
  "targets": [
    {
      "target_name": "ringcube",
      "sources": [
        "<!@(printf '%s\\n' native/core/*.cc native/bench/*.cc native/addon/*.cc)"
      ],
      "include_dirs": ["native"],
      "dependencies": ["<!(node -p \"require('node-addon-api').targets\"):node_addon_api"],
      "defines": ["NAPI_VERSION=9"],
      "cflags_cc!": ["-fno-rtti", "-std=gnu++17"],
      "cflags_cc": ["-std=c++20", "-O3", "-Wall", "-Wextra", "-fvisibility=hidden", "-flto=auto"],
      "ldflags": ["-flto=auto", "-O3"]
    }
  ]
}
